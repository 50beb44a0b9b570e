"""Every caller is answered, once and with its own vectors, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.encoding.batching import Batcher, Priority
from service.encoding.batching.schedule import COMPANY_S
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row, unpack
from service.errors import InferenceFailed
from tests.fakes import PATIENCE_S
from tests.service.encoding.batching.gate import (
    Gate,
    Task,
    first_ids,
    left_running,
    row_of,
    settle,
    submit,
    with_next_formed,
)


def test_a_failing_batch_ends_only_its_own_requests_and_the_next_works() -> None:
    def infer(rows: Sequence[Row]) -> Vectors:
        if any(13 in unpack(row.ids) for row in rows):
            raise ValueError("a secret")
        return first_ids(rows)

    gate = Gate(infer)

    async def scenario() -> tuple[list[Vectors | BaseException], Vectors, int]:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = submit(batcher, row_of(1))
        await gate.entered()
        tasks = [
            # Its short row shares a batch with the poisoned one, its long row is not needed then.
            submit(batcher, row_of(2, 2), row_of(*[3] * 90)),
            submit(batcher, row_of(13, 13)),
            submit(batcher, row_of(*[4] * 95)),
        ]
        await settle()
        gate.open()
        answers = await asyncio.gather(blocker, *tasks, return_exceptions=True)
        later = await batcher.submit([row_of(5)])
        await batcher.close()
        return answers, later, batcher.state().failed_batches

    (blocker, shared, poisoned, apart), later, failed = asyncio.run(scenario())
    assert isinstance(blocker, np.ndarray)
    assert isinstance(shared, InferenceFailed)
    assert isinstance(poisoned, InferenceFailed)
    assert shared is not poisoned
    assert "secret" not in shared.message
    assert "other requests are not affected" in shared.message
    assert isinstance(apart, np.ndarray)
    assert later.tolist() == [[5]]
    assert failed == 1
    assert not any(3 in ids for batch in gate.batches for ids in batch)


def test_rows_that_cannot_be_made_into_a_batch_fail_alone() -> None:
    def load(rows: Sequence[Row]) -> Callable[[], Vectors]:
        if any(13 in unpack(row.ids) for row in rows):
            raise MemoryError
        return lambda: first_ids(rows)

    async def scenario() -> list[Vectors | BaseException]:
        batcher = Batcher(load, batch_tokens=2)
        # Enough that the second batch is formed while the first runs.
        tasks = [submit(batcher, row_of(n, 0)) for n in (1, 13, 2, 3)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.close()
        return answers

    answers = asyncio.run(scenario())
    assert [type(answer) for answer in answers] == [
        np.ndarray,
        InferenceFailed,
        np.ndarray,
        np.ndarray,
    ]


@pytest.mark.parametrize(
    "answer", [np.zeros((1, 1), np.float32), np.zeros((3, 1), np.float32), None]
)
def test_an_answer_of_the_wrong_length_is_a_failure(answer: Vectors) -> None:
    async def scenario() -> None:
        batcher = Batcher(lambda rows: lambda: answer, batch_tokens=100)
        with pytest.raises(InferenceFailed):
            await batcher.submit([row_of(1), row_of(2)])
        await batcher.close()

    asyncio.run(scenario())


def test_rows_of_a_caller_that_gave_up_never_reach_the_model() -> None:
    gate = Gate()

    async def scenario() -> tuple[Vectors, int]:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = submit(batcher, row_of(1))
        await gate.entered()
        leaver = submit(batcher, row_of(2), row_of(3))
        stayer = submit(batcher, row_of(4), row_of(3))  # row 3 is now wanted by this one
        await settle()
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        gate.open()
        await blocker
        answer = await stayer
        await batcher.close()
        return answer, batcher.state().dropped_rows

    answer, dropped = asyncio.run(scenario())
    assert answer.tolist() == [[4], [3]]
    assert gate.batches[0] == [[1]]
    assert sorted(gate.batches[1]) == [[3], [4]]
    assert dropped == 1


def test_a_caller_that_gives_up_while_its_batch_runs_disturbs_nobody() -> None:
    gate = Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=100)
        await left_running(gate, batcher, row_of(1))
        gate.open()
        answer = await batcher.submit([row_of(2)])
        await batcher.close()
        return answer

    assert asyncio.run(scenario()).tolist() == [[2]]


@pytest.mark.parametrize("wanted_again", [False, True])
def test_rows_given_up_after_their_batch_was_formed_run_only_if_wanted_again(
    wanted_again: bool,
) -> None:
    gate = Gate()

    async def scenario() -> int:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await with_next_formed(gate, batcher)
        (formed,) = (ids[0] for ids in gate.loaded[2][1])
        tasks.pop(formed - 100).cancel()
        await settle()
        late = [submit(batcher, row_of(formed, 7))] if wanted_again else []
        await settle()
        gate.open()
        await asyncio.gather(*tasks, *late)
        await batcher.close()
        assert [task.result().tolist() for task in late] == [[[formed]]] * wanted_again
        assert ([[formed, 7]] in gate.batches) is wanted_again
        return batcher.state().dropped_rows

    assert asyncio.run(scenario()) == (not wanted_again)


_POISON = 13


_actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.lists(st.tuples(st.integers(10, 20), st.integers(1, 9)), min_size=1, max_size=12),
            st.sampled_from(Priority),
        ),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("run")),
        st.tuples(st.just("wait"), st.floats(0, 2 * COMPANY_S)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(_actions, st.integers(4, 40), st.integers(1, 3), st.sampled_from([0, 1_700, 100_000]))
def test_whatever_is_cancelled_or_fails_every_caller_gets_its_own_answer(
    actions: list[tuple[object, ...]], budget: int, threads: int, cache_bytes: int
) -> None:
    """Rows are few and often equal, so that they join, are cached, and fail together."""
    now = 0.0

    def infer(rows: Sequence[Row]) -> Vectors:
        ids = [unpack(row.ids) for row in rows]
        if any(each[0] == _POISON for each in ids):
            raise ValueError("poison")
        return np.array([[each[0], len(each)] for each in ids], np.float32)

    gate = Gate(infer)

    async def scenario() -> None:
        nonlocal now
        batcher = Batcher(
            gate,
            batch_tokens=budget,
            shared_batch_tokens=max(1, budget // 4),
            threads=threads,
            cache_bytes=cache_bytes,
            clock=lambda: now,
        )
        tasks: list[tuple[list[tuple[int, int]], Task]] = []
        for action in actions:
            match action:
                case ("submit", list(rows), Priority() as priority):
                    made = [row_of(*[name] * length) for name, length in rows]
                    tasks.append((rows, submit(batcher, *made, priority=priority)))
                case ("leave", int(number)) if tasks:
                    tasks[number % len(tasks)][1].cancel()
                case ("wait", float(seconds)):
                    now += seconds
                case ("run",):
                    gate.let_one_through()
            await settle()
        gate.open()
        done = asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
        answers = await asyncio.wait_for(done, PATIENCE_S)
        for (rows, _), answer in zip(tasks, answers, strict=True):
            if isinstance(answer, InferenceFailed):
                # It had the poison, or shared a batch with it; alone it would not have.
                assert any(_POISON in ids for batch in gate.batches for ids in batch)
            elif not isinstance(answer, asyncio.CancelledError):
                assert isinstance(answer, np.ndarray)
                assert answer.tolist() == [list(row) for row in rows]
                assert _POISON not in [name for name, _ in rows]
        await batcher.close()
        state = batcher.state()
        assert (state.queued_rows, state.queued_tokens) == (0, 0)
        for batch in gate.batches:
            assert max(map(len, batch)) * len(batch) <= budget or len(batch) == 1

    asyncio.run(scenario())
