from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.encoding.batching import (
    PADDING_SHARE,
    Batcher,
    TokenLedger,
    next_batch,
    plan_batches,
)
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row
from service.errors import InferenceFailed, NotReady, Overloaded

lengths_lists = st.lists(st.integers(1, 600), min_size=1, max_size=200)
budgets = st.integers(1, 4_096)


@given(lengths_lists, budgets)
def test_a_plan_holds_every_row_once(lengths: list[int], budget: int) -> None:
    indices = [index for batch in plan_batches(lengths, budget) for index in batch]
    assert sorted(indices) == list(range(len(lengths)))


@given(lengths_lists, budgets)
def test_batches_keep_the_budget_and_hold_little_padding(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        sizes = [lengths[index] for index in batch]
        padded, real = max(sizes) * len(sizes), sum(sizes)
        assert padded <= budget or len(batch) == 1
        assert padded - real <= budget * PADDING_SHARE


@given(lengths_lists, budgets)
def test_batches_go_from_short_to_long(lengths: list[int], budget: int) -> None:
    ordered = [lengths[index] for batch in plan_batches(lengths, budget) for index in batch]
    assert ordered == sorted(lengths)


def test_a_little_padding_is_taken_to_save_a_batch() -> None:
    assert plan_batches([10, 12, 11, 60], 320) == [[0, 2, 1], [3]]


def test_rows_of_one_length_fill_their_batches() -> None:
    assert [len(batch) for batch in plan_batches([10] * 25, 100)] == [10, 10, 5]


def test_nothing_pending_is_no_batch() -> None:
    assert plan_batches([], 100) == []


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(0, 9)), min_size=1), budgets)
def test_no_row_waits_longer_than_its_place_in_the_queue(
    arrivals: list[tuple[int, int]], budget: int
) -> None:
    """Rows arrive while batches run; row p is done after at most p + 1 batches of its time."""
    pending: list[tuple[int, int, int]] = []  # (length, place in the queue at arrival, waited)
    upcoming = [(length, burst) for length, burst in arrivals]
    while pending or upcoming:
        for _ in range(1 + (upcoming[0][1] if upcoming else 0)):
            if upcoming:
                pending.append((upcoming.pop(0)[0], len(pending), 0))
        taken = set(next_batch([length for length, _, _ in pending], budget))
        assert 0 in taken
        kept = [(*row[:2], row[2] + 1) for i, row in enumerate(pending) if i not in taken]
        assert all(waited <= place for _, place, waited in kept)
        pending = kept


def test_the_ledger_refuses_what_goes_over_and_says_when_to_come_back() -> None:
    ledger = TokenLedger(100)
    ledger.measured(tokens=20, seconds=2.0)  # 10 tokens a second
    with ledger.hold(75):
        with pytest.raises(Overloaded, match="holds 75 of at most 100") as caught, ledger.hold(26):
            pass
        assert caught.value.headers() == {"Retry-After": "8"}
        with ledger.hold(25):
            assert ledger.held == 100
    assert ledger.held == 0


def test_a_correction_replaces_the_guess_or_is_refused() -> None:
    ledger = TokenLedger(100)
    with ledger.hold(50) as correct:
        correct(90)
        assert ledger.held == 90
        with pytest.raises(Overloaded):
            correct(101)
        assert ledger.held == 90
    assert ledger.held == 0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e3)), min_size=1))
def test_the_throughput_stays_within_what_was_measured(batches: list[tuple[int, float]]) -> None:
    ledger = TokenLedger(1)
    for tokens, seconds in batches:
        ledger.measured(tokens, seconds)
    rates = [tokens / seconds for tokens, seconds in batches]
    assert ledger.throughput is not None
    assert min(rates) * 0.999 <= ledger.throughput <= max(rates) * 1.001


def test_before_any_measurement_a_second_is_asked_for() -> None:
    ledger = TokenLedger(10)
    with ledger.hold(10):
        assert ledger.retry_after_s() == 1


Infer = Callable[[Sequence[Row]], Vectors]


def _row(*ids: int) -> Row:
    return Row(ids, 0)


def _first_ids(rows: Sequence[Row]) -> Vectors:
    return np.array([[row.ids[0]] for row in rows], np.float32)


class _Gate:
    """An infer function that waits for the test, and keeps the rows that came."""

    def __init__(self, infer: Infer = _first_ids) -> None:
        self._infer = infer
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[Row]] = []

    def __call__(self, rows: Sequence[Row]) -> Vectors:
        self.batches.append(list(rows))
        self.entered.set()
        if not self.gate.wait(30):
            raise TimeoutError
        return self._infer(rows)

    async def occupied(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 30)


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_rows_of_many_requests_share_batches_and_come_back_in_order() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=1_000)
        first = asyncio.create_task(batcher.submit([_row(9)]))
        await gate.occupied()
        rest = [
            asyncio.create_task(batcher.submit([_row(n, 1, 1), _row(n + 50), _row(n + 90, 2)]))
            for n in range(5)
        ]
        await _settle()
        gate.gate.set()
        answers = await asyncio.gather(first, *rest)
        await batcher.close()
        return answers

    first, *rest = asyncio.run(scenario())
    assert first.tolist() == [[9]]
    assert [answer.tolist() for answer in rest] == [[[n], [n + 50], [n + 90]] for n in range(5)]
    assert [len(batch) for batch in gate.batches] == [1, 15]


def test_a_failing_batch_ends_only_its_own_requests_and_the_next_works() -> None:
    def infer(rows: Sequence[Row]) -> Vectors:
        if any(13 in row.ids for row in rows):
            raise ValueError("a secret")
        return _first_ids(rows)

    gate = _Gate(infer)

    async def scenario() -> tuple[list[Vectors | BaseException], Vectors]:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = asyncio.create_task(batcher.submit([_row(1)]))
        await gate.occupied()
        tasks = [
            # Its short row shares a batch with the poisoned one, its long row is not needed then.
            asyncio.create_task(batcher.submit([_row(2, 2), _row(*[3] * 90)])),
            asyncio.create_task(batcher.submit([_row(13, 13)])),
            asyncio.create_task(batcher.submit([_row(*[4] * 95)])),
        ]
        await _settle()
        gate.gate.set()
        answers = await asyncio.gather(blocker, *tasks, return_exceptions=True)
        later = await batcher.submit([_row(5)])
        await batcher.close()
        return answers, later

    (blocker, shared, poisoned, apart), later = asyncio.run(scenario())
    assert isinstance(blocker, np.ndarray)
    assert isinstance(shared, InferenceFailed)
    assert isinstance(poisoned, InferenceFailed)
    assert shared is not poisoned
    assert "secret" not in shared.message
    assert "other requests are not affected" in shared.message
    assert isinstance(apart, np.ndarray)
    assert later.tolist() == [[5]]
    assert not any(3 in row.ids for batch in gate.batches for row in batch)


@pytest.mark.parametrize(
    "answer", [np.zeros((1, 1), np.float32), np.zeros((3, 1), np.float32), None]
)
def test_an_answer_of_the_wrong_length_is_a_failure(answer: Vectors) -> None:
    async def scenario() -> None:
        batcher = Batcher(lambda rows: answer, batch_tokens=100)
        with pytest.raises(InferenceFailed):
            await batcher.submit([_row(1), _row(2)])
        await batcher.close()

    asyncio.run(scenario())


def test_rows_of_a_caller_that_gave_up_never_reach_the_model() -> None:
    gate = _Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=100)
        blocker = asyncio.create_task(batcher.submit([_row(1)]))
        await gate.occupied()
        leaver = asyncio.create_task(batcher.submit([_row(2), _row(3)]))
        stayer = asyncio.create_task(batcher.submit([_row(4)]))
        await _settle()
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        gate.gate.set()
        await blocker
        answer = await stayer
        await batcher.close()
        return answer

    assert asyncio.run(scenario()).tolist() == [[4]]
    assert [[row.ids for row in batch] for batch in gate.batches] == [[(1,)], [(4,)]]


def test_a_caller_that_gives_up_while_its_batch_runs_disturbs_nobody() -> None:
    gate = _Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=100)
        leaver = asyncio.create_task(batcher.submit([_row(1)]))
        await gate.occupied()
        leaver.cancel()
        await _settle()
        gate.gate.set()
        answer = await batcher.submit([_row(2)])
        await batcher.close()
        return answer

    assert asyncio.run(scenario()).tolist() == [[2]]


def test_closing_answers_what_was_submitted_and_refuses_the_rest() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = [asyncio.create_task(batcher.submit([_row(n), _row(n)])) for n in range(4)]
        await gate.occupied()
        closing = asyncio.create_task(batcher.close())
        await _settle()
        assert not closing.done()
        with pytest.raises(NotReady):
            await batcher.submit([_row(9)])
        gate.gate.set()
        await closing
        return [task.result() for task in tasks]

    assert [answer.tolist() for answer in asyncio.run(scenario())] == [[[n], [n]] for n in range(4)]


def test_a_queue_that_is_stopped_hard_leaves_no_caller_waiting() -> None:
    gate = _Gate()

    async def scenario() -> list[Vectors | BaseException]:
        batcher = Batcher(gate, batch_tokens=1)
        tasks = [asyncio.create_task(batcher.submit([_row(n)])) for n in range(3)]
        await gate.occupied()
        batcher._task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert not batcher.running
        gate.gate.set()
        return answers

    assert {type(answer) for answer in asyncio.run(scenario())} == {NotReady}
