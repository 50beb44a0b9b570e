"""Every caller is answered, once and with its own vectors, whatever happens to the others."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.encoding.batching import Batcher, Priority
from service.encoding.batching.batcher import LONE_S
from service.encoding.batching.schedule import COMPANY_S
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row, pack, unpack
from service.errors import InferenceFailed, NotReady
from tests.fakes import PATIENCE_S

Infer = Callable[[Sequence[Row]], Vectors]


def _row(*ids: int) -> Row:
    return Row(pack(ids), 0)


def _first_ids(rows: Sequence[Row]) -> Vectors:
    return np.array([[unpack(row.ids)[0]] for row in rows], np.float32)


class _Gate:
    """A model that runs a batch when the test lets it, and keeps the rows that came."""

    def __init__(self, infer: Infer = _first_ids) -> None:
        self._infer = infer
        self._permits = threading.Semaphore(0)
        self._entered = threading.Semaphore(0)
        self._open = False
        self.batches: list[list[list[int]]] = []
        self.loaded: list[tuple[str, list[list[int]]]] = []

    def __call__(self, rows: Sequence[Row]) -> Callable[[], Vectors]:
        ids = [unpack(row.ids) for row in rows]
        self.loaded.append((threading.current_thread().name, ids))
        return lambda: self._run(list(rows), ids)

    def _run(self, rows: list[Row], ids: list[list[int]]) -> Vectors:
        self.batches.append(ids)
        self._entered.release()
        if not self._open and not self._permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError("no test opened the gate")
        return self._infer(rows)

    def open(self) -> None:
        """Let everything through from now on."""
        self._open = True
        self._permits.release(10)

    def let_one_through(self) -> None:
        self._permits.release()

    async def entered(self) -> None:
        """Wait until one more batch has come in."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S)


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def _submit(batcher: Batcher, *rows: Row, priority: Priority = Priority.INTERACTIVE) -> _Task:
    return asyncio.create_task(batcher.submit(rows, priority))


_Task = asyncio.Task[Vectors]


def _on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, run to its end on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def test_rows_of_many_requests_share_batches_and_come_back_in_order() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=1_000)
        first = _submit(batcher, _row(9))
        await gate.entered()
        rest = [
            _submit(batcher, _row(n, 1, 1), _row(n + 50), _row(n + 90, 2)) for n in range(20, 25)
        ]
        await _settle()
        gate.open()
        answers = await asyncio.gather(first, *rest)
        await batcher.close()
        return answers

    first, *rest = asyncio.run(scenario())
    assert first.tolist() == [[9]]
    assert [answer.tolist() for answer in rest] == [
        [[n], [n + 50], [n + 90]] for n in range(20, 25)
    ]
    assert [len(batch) for batch in gate.batches] == [1, 15]


def test_a_whole_request_is_one_batch_whatever_else_waits() -> None:
    gate = _Gate()
    own = [_row(7, 7), _row(8), _row(9, 9, 9)]

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=1_000, cache_bytes=10_000)
        first = _submit(batcher, own[1])
        await gate.entered()
        rest = [
            _submit(batcher, *own, _row(1), priority=Priority.JOB),
            asyncio.create_task(batcher.submit(own, Priority.JOB, whole=True)),
            _submit(batcher, *own, _row(2), priority=Priority.JOB),
        ]
        await _settle()
        gate.open()
        answers = await asyncio.gather(first, *rest)
        # Not from the cache either, whose vectors came of other batches.
        await batcher.submit(own, Priority.JOB, whole=True)
        await batcher.close()
        return answers

    _, _, whole, _ = asyncio.run(scenario())
    assert whole.tolist() == [[7], [8], [9]]
    assert gate.batches.count([[7, 7], [8], [9, 9, 9]]) == 2


def test_a_failing_batch_ends_only_its_own_requests_and_the_next_works() -> None:
    def infer(rows: Sequence[Row]) -> Vectors:
        if any(13 in unpack(row.ids) for row in rows):
            raise ValueError("a secret")
        return _first_ids(rows)

    gate = _Gate(infer)

    async def scenario() -> tuple[list[Vectors | BaseException], Vectors, int]:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = _submit(batcher, _row(1))
        await gate.entered()
        tasks = [
            # Its short row shares a batch with the poisoned one, its long row is not needed then.
            _submit(batcher, _row(2, 2), _row(*[3] * 90)),
            _submit(batcher, _row(13, 13)),
            _submit(batcher, _row(*[4] * 95)),
        ]
        await _settle()
        gate.open()
        answers = await asyncio.gather(blocker, *tasks, return_exceptions=True)
        later = await batcher.submit([_row(5)])
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
        return lambda: _first_ids(rows)

    async def scenario() -> list[Vectors | BaseException]:
        batcher = Batcher(load, batch_tokens=2)
        # Enough that the second batch is formed while the first runs.
        tasks = [_submit(batcher, _row(n, 0)) for n in (1, 13, 2, 3)]
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
            await batcher.submit([_row(1), _row(2)])
        await batcher.close()

    asyncio.run(scenario())


def test_rows_of_a_caller_that_gave_up_never_reach_the_model() -> None:
    gate = _Gate()

    async def scenario() -> tuple[Vectors, int]:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = _submit(batcher, _row(1))
        await gate.entered()
        leaver = _submit(batcher, _row(2), _row(3))
        stayer = _submit(batcher, _row(4), _row(3))  # row 3 is now wanted by this one
        await _settle()
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
    gate = _Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=100)
        leaver = _submit(batcher, _row(1))
        await gate.entered()
        leaver.cancel()
        await _settle()
        gate.open()
        answer = await batcher.submit([_row(2)])
        await batcher.close()
        return answer

    assert asyncio.run(scenario()).tolist() == [[2]]


async def _with_next_formed(gate: _Gate, batcher: Batcher) -> list[_Task]:
    """Ten requests of a batch each: the second runs, and the third is formed meanwhile."""
    tasks = [_submit(batcher, *[_row(n, 7)] * 5) for n in range(100, 110)]
    await gate.entered()
    gate.let_one_through()
    await gate.entered()
    while len(gate.loaded) < 3:
        await asyncio.sleep(0)
    return tasks


def test_the_next_batch_is_formed_while_one_runs_if_it_is_full() -> None:
    gate = _Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await _with_next_formed(gate, batcher)
        assert len(gate.batches) == 2
        assert gate.loaded[2][0] == threading.current_thread().name
        gate.open()
        answers = await asyncio.gather(*tasks)
        await batcher.close()
        assert [answer.tolist() for answer in answers] == [[[n]] * 5 for n in range(100, 110)]

    asyncio.run(scenario())
    assert gate.batches == [ids for _, ids in gate.loaded]


def test_a_small_request_goes_before_the_batch_that_is_already_formed() -> None:
    gate = _Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await _with_next_formed(gate, batcher)
        small = [_submit(batcher, _row(n)) for n in (1, 2, 3)]
        await _settle()
        gate.open()
        await asyncio.gather(*tasks, *small)
        await batcher.close()
        return small[0].result()

    assert asyncio.run(scenario()).tolist() == [[1]]
    # Once: the batch that was formed before them comes next.
    assert [batch[0][0] < 100 for batch in gate.batches[2:4]] == [True, False]
    assert gate.batches[3] == gate.loaded[2][1]


@pytest.mark.parametrize("wanted_again", [False, True])
def test_rows_given_up_after_their_batch_was_formed_run_only_if_wanted_again(
    wanted_again: bool,
) -> None:
    gate = _Gate()

    async def scenario() -> int:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await _with_next_formed(gate, batcher)
        (formed,) = (ids[0] for ids in gate.loaded[2][1])
        tasks.pop(formed - 100).cancel()
        await _settle()
        late = [_submit(batcher, _row(formed, 7))] if wanted_again else []
        await _settle()
        gate.open()
        await asyncio.gather(*tasks, *late)
        await batcher.close()
        assert [task.result().tolist() for task in late] == [[[formed]]] * wanted_again
        assert ([[formed, 7]] in gate.batches) is wanted_again
        return batcher.state().dropped_rows

    assert asyncio.run(scenario()) == (not wanted_again)


def test_a_request_with_many_rows_lets_others_in_between() -> None:
    gate = _Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=64, shared_batch_tokens=16)
        large = _submit(batcher, *[_row(n, n, n, n) for n in range(1_000, 3_000)])
        await gate.entered()
        small = _submit(batcher, _row(1))
        await _settle()
        gate.let_one_through()
        await gate.entered()
        gate.let_one_through()
        assert (await small).tolist() == [[1]]
        assert len(gate.batches) <= 3
        gate.open()
        assert (await large)[:, 0].tolist() == list(range(1_000, 3_000))
        await batcher.close()

    asyncio.run(scenario())


def test_repeats_are_answered_from_the_cache_only_where_it_is_wanted() -> None:
    async def scenario(cache_bytes: int) -> tuple[list[Vectors], int, int]:
        batcher = Batcher(_opened(gate := _Gate()), batch_tokens=100, cache_bytes=cache_bytes)
        answers = [await batcher.submit([_row(1), _row(n)]) for n in (2, 3, 2)]
        await batcher.close()
        return answers, sum(map(len, gate.batches)), batcher.state().cached_rows

    without, ran_without, hits_without = asyncio.run(scenario(0))
    cached, ran, hits = asyncio.run(scenario(100_000))
    for one, other in zip(without, cached, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (ran_without, hits_without) == (6, 0)
    assert (ran, hits) == (3, 3)


def _opened(gate: _Gate) -> _Gate:
    gate.open()
    return gate


def test_the_state_counts_what_ran_and_what_waits() -> None:
    now = 0.0
    gate = _Gate()

    async def scenario() -> None:
        nonlocal now
        batcher = Batcher(gate, batch_tokens=8, clock=lambda: now)
        first = _submit(batcher, _row(1, 1, 1))
        await gate.entered()
        second = _submit(batcher, _row(2), _row(3, 3), _row(2))
        await _settle()
        state = batcher.state()
        assert (state.queued_rows, state.queued_tokens, state.joined_rows) == (2, 3, 1)
        now = 2.0
        gate.open()
        await asyncio.gather(first, second)
        await batcher.close()
        state = batcher.state()
        assert (state.batches, state.rows, state.tokens) == (3, 3, 6)
        assert (state.queued_rows, state.padding_share) == (0, 0.0)
        assert state.model_s == 2.0
        assert state.waited_s == 4.0
        assert (state.rows_per_batch, state.mean_wait_s) == (1.0, 4 / 3)

    asyncio.run(scenario())


def test_several_threads_run_several_batches_and_keep_one_for_small_requests() -> None:
    gate = _Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=8, threads=2, clock=lambda: 0.0)
        large = _submit(batcher, *[_row(n, n) for n in range(100, 140)])
        await gate.entered()
        await gate.entered()  # nobody else is there: both threads work on it
        small = _submit(batcher, _row(1))
        await _settle()
        gate.let_one_through()
        await gate.entered()
        assert gate.batches[-1] == [[1]]
        gate.open()
        assert (await small).tolist() == [[1]]
        assert (await large)[:, 0].tolist() == list(range(100, 140))
        await batcher.close()

    asyncio.run(scenario())


def test_closing_answers_what_was_submitted_and_refuses_the_rest() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=2)
        # Of the last not even all rows are queued when the queue is told to close.
        tasks = [_submit(batcher, _row(n), _row(n)) for n in range(4)]
        tasks.append(_submit(batcher, *[_row(n) for n in range(1_000)]))
        await gate.entered()
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        assert not closing.done()
        assert not batcher.running
        with pytest.raises(NotReady):
            await batcher.submit([_row(9)])
        gate.open()
        await closing
        return [task.result() for task in tasks]

    *small, large = asyncio.run(scenario())
    assert [answer.tolist() for answer in small] == [[[n], [n]] for n in range(4)]
    assert large[:, 0].tolist() == list(range(1_000))


def test_closing_waits_for_a_batch_that_runs_though_nobody_wants_it() -> None:
    gate = _Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=2)
        leaver = _submit(batcher, _row(1))
        await gate.entered()
        leaver.cancel()
        await _settle()
        closing = asyncio.create_task(batcher.close())
        await _settle()
        assert not closing.done()
        gate.open()
        await closing
        assert not any(thread.is_alive() for thread in batcher._threads)

    asyncio.run(scenario())


def test_a_queue_that_is_stopped_hard_leaves_no_caller_waiting() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors | BaseException]:
        batcher = Batcher(gate, batch_tokens=1)
        tasks = [_submit(batcher, _row(n)) for n in range(3)]
        await gate.entered()
        closing = asyncio.create_task(batcher.close())
        await _settle()
        closing.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
        assert not batcher.running
        gate.open()
        return answers

    assert {type(answer) for answer in asyncio.run(scenario())} == {NotReady}


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

    gate = _Gate(infer)

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
        tasks: list[tuple[list[tuple[int, int]], _Task]] = []
        for action in actions:
            match action:
                case ("submit", list(rows), Priority() as priority):
                    made = [_row(*[name] * length) for name, length in rows]
                    tasks.append((rows, _submit(batcher, *made, priority=priority)))
                case ("leave", int(number)) if tasks:
                    tasks[number % len(tasks)][1].cancel()
                case ("wait", float(seconds)):
                    now += seconds
                case ("run",):
                    gate.let_one_through()
            await _settle()
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


class TestLone:
    """Who is alone is answered on the event loop; who is not, by the queue."""

    @staticmethod
    def _noting(threads: list[str]) -> Callable[[Sequence[Row]], Callable[[], Vectors]]:
        def load(rows: Sequence[Row]) -> Callable[[], Vectors]:
            threads.append(threading.current_thread().name)
            return lambda: _first_ids(rows)

        return load

    @_on_a_loop
    async def test_a_short_request_of_the_only_caller_runs_on_the_loop(self) -> None:
        threads: list[str] = []
        batcher = Batcher(self._noting(threads), batch_tokens=64, lone_tokens=4)
        try:
            assert (await batcher.submit([_row(7, 1), _row(8)])).tolist() == [[7], [8]]
            assert threads == [threading.current_thread().name]
            state = batcher.state()
            assert (state.batches, state.rows, state.tokens, state.padded_tokens) == (1, 2, 3, 4)
        finally:
            await batcher.close()

    @pytest.mark.parametrize(
        ("rows", "priority", "whole", "cache_bytes"),
        [
            ([_row(7, 1, 2), _row(8)], Priority.INTERACTIVE, False, 0),  # six with the padding
            ([_row(7)], Priority.JOB, False, 0),
            ([_row(7)], Priority.INTERACTIVE, True, 0),
            ([_row(7)], Priority.INTERACTIVE, False, 1 << 20),
        ],
        ids=["long", "job", "whole", "cached"],
    )
    @_on_a_loop
    async def test_others_go_through_the_queue(
        self, rows: list[Row], priority: Priority, whole: bool, cache_bytes: int
    ) -> None:
        threads: list[str] = []
        batcher = Batcher(
            self._noting(threads), batch_tokens=64, lone_tokens=4, cache_bytes=cache_bytes
        )
        try:
            answer = await batcher.submit(rows, priority, whole=whole)
            assert answer.tolist() == _first_ids(rows).tolist()
            assert threads == ["model-0"]
        finally:
            await batcher.close()

    @_on_a_loop
    async def test_callers_that_come_together_share_a_batch(self) -> None:
        threads: list[str] = []
        batcher = Batcher(self._noting(threads), batch_tokens=64, lone_tokens=4)
        try:
            answers = await asyncio.gather(*(batcher.submit([_row(each)]) for each in range(5)))
            assert [each.tolist() for each in answers] == [[[each]] for each in range(5)]
            assert set(threads) == {"model-0"}
        finally:
            await batcher.close()

    @_on_a_loop
    async def test_the_loop_runs_nothing_until_company_has_been_gone_for_a_while(self) -> None:
        threads: list[str] = []
        now = 0.0
        batcher = Batcher(self._noting(threads), batch_tokens=64, lone_tokens=4, clock=lambda: now)
        try:
            await asyncio.gather(batcher.submit([_row(1)]), batcher.submit([_row(2)]))
            threads.clear()
            now = LONE_S * 0.9
            await batcher.submit([_row(3)])
            now = LONE_S * 1.1
            await batcher.submit([_row(4)])
            assert threads == ["model-0", threading.current_thread().name]
        finally:
            await batcher.close()

    @_on_a_loop
    async def test_a_batch_that_runs_for_nobody_is_not_run_beside(self) -> None:
        gate = _Gate()
        batcher = Batcher(gate, batch_tokens=64, lone_tokens=4)
        try:
            left = _submit(batcher, _row(*range(1, 9)))
            await gate.entered()
            left.cancel()
            await asyncio.wait([left])
            await asyncio.sleep(LONE_S * 1.1)
            asked = _submit(batcher, _row(5))
            await _settle()
            assert len(gate.batches) == 1
            gate.open()
            assert (await asked).tolist() == [[5]]
        finally:
            gate.open()
            await batcher.close()

    @_on_a_loop
    async def test_a_failure_is_that_of_the_queue(self) -> None:
        def load(rows: Sequence[Row]) -> Callable[[], Vectors]:
            raise ValueError("broken")

        batcher = Batcher(load, batch_tokens=64, lone_tokens=4)
        try:
            with pytest.raises(InferenceFailed, match="the model failed on the batch"):
                await batcher.submit([_row(7)])
            assert (batcher.state().batches, batcher.state().failed_batches) == (1, 1)
        finally:
            await batcher.close()
