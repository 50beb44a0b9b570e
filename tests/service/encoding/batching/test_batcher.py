"""Rows of many callers share batches, and each caller gets its own vectors."""

from __future__ import annotations

import asyncio
import threading

import numpy as np

from service.encoding.batching import Batcher, Priority
from service.encoding.session import Vectors
from tests.service.encoding.batching.gate import (
    Gate,
    opened,
    row_of,
    settle,
    submit,
    with_next_formed,
)


def test_rows_of_many_requests_share_batches_and_come_back_in_order() -> None:
    gate = Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=1_000)
        first = submit(batcher, row_of(9))
        await gate.entered()
        rest = [
            submit(batcher, row_of(n, 1, 1), row_of(n + 50), row_of(n + 90, 2))
            for n in range(20, 25)
        ]
        await settle()
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
    gate = Gate()
    own = [row_of(7, 7), row_of(8), row_of(9, 9, 9)]

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=1_000, cache_bytes=10_000)
        first = submit(batcher, own[1])
        await gate.entered()
        rest = [
            submit(batcher, *own, row_of(1), priority=Priority.JOB),
            asyncio.create_task(batcher.submit(own, Priority.JOB, whole=True)),
            submit(batcher, *own, row_of(2), priority=Priority.JOB),
        ]
        await settle()
        gate.open()
        answers = await asyncio.gather(first, *rest)
        # Not from the cache either, whose vectors came of other batches.
        await batcher.submit(own, Priority.JOB, whole=True)
        await batcher.close()
        return answers

    _, _, whole, _ = asyncio.run(scenario())
    assert whole.tolist() == [[7], [8], [9]]
    assert gate.batches.count([[7, 7], [8], [9, 9, 9]]) == 2


def test_the_next_batch_is_formed_while_one_runs_if_it_is_full() -> None:
    gate = Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await with_next_formed(gate, batcher)
        assert len(gate.batches) == 2
        assert gate.loaded[2][0] == threading.current_thread().name
        gate.open()
        answers = await asyncio.gather(*tasks)
        await batcher.close()
        assert [answer.tolist() for answer in answers] == [[[n]] * 5 for n in range(100, 110)]

    asyncio.run(scenario())
    assert gate.batches == [ids for _, ids in gate.loaded]


def test_a_small_request_goes_before_the_batch_that_is_already_formed() -> None:
    gate = Gate()

    async def scenario() -> Vectors:
        batcher = Batcher(gate, batch_tokens=2)
        tasks = await with_next_formed(gate, batcher)
        small = [submit(batcher, row_of(n)) for n in (1, 2, 3)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks, *small)
        await batcher.close()
        return small[0].result()

    assert asyncio.run(scenario()).tolist() == [[1]]
    # Once: the batch that was formed before them comes next.
    assert [batch[0][0] < 100 for batch in gate.batches[2:4]] == [True, False]
    assert gate.batches[3] == gate.loaded[2][1]


def test_a_request_with_many_rows_lets_others_in_between() -> None:
    gate = Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=64, shared_batch_tokens=16)
        large = submit(batcher, *[row_of(n, n, n, n) for n in range(1_000, 3_000)])
        await gate.entered()
        small = submit(batcher, row_of(1))
        await settle()
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
        batcher = Batcher(opened(gate := Gate()), batch_tokens=100, cache_bytes=cache_bytes)
        answers = [await batcher.submit([row_of(1), row_of(n)]) for n in (2, 3, 2)]
        await batcher.close()
        return answers, sum(map(len, gate.batches)), batcher.state().cached_rows

    without, ran_without, hits_without = asyncio.run(scenario(0))
    cached, ran, hits = asyncio.run(scenario(100_000))
    for one, other in zip(without, cached, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (ran_without, hits_without) == (6, 0)
    assert (ran, hits) == (3, 3)


def test_the_state_counts_what_ran_and_what_waits() -> None:
    now = 0.0
    gate = Gate()

    async def scenario() -> None:
        nonlocal now
        batcher = Batcher(gate, batch_tokens=8, clock=lambda: now)
        first = submit(batcher, row_of(1, 1, 1))
        await gate.entered()
        second = submit(batcher, row_of(2), row_of(3, 3), row_of(2))
        await settle()
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
    gate = Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=8, threads=2, clock=lambda: 0.0)
        large = submit(batcher, *[row_of(n, n) for n in range(100, 140)])
        await gate.entered()
        await gate.entered()  # nobody else is there: both threads work on it
        small = submit(batcher, row_of(1))
        await settle()
        gate.let_one_through()
        await gate.entered()
        assert gate.batches[-1] == [[1]]
        gate.open()
        assert (await small).tolist() == [[1]]
        assert (await large)[:, 0].tolist() == list(range(100, 140))
        await batcher.close()

    asyncio.run(scenario())
