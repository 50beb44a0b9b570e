"""Who is alone is answered on the event loop; who is not, by the queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from service.encoding.batching import Batcher, Priority
from service.encoding.batching.batcher import LONE_S
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row
from service.errors import InferenceFailed
from tests.service.encoding.batching.gate import (
    Gate,
    first_ids,
    left_running,
    on_a_loop,
    row_of,
    settle,
    submit,
)


def _noting(threads: list[str]) -> Callable[[Sequence[Row]], Callable[[], Vectors]]:
    def load(rows: Sequence[Row]) -> Callable[[], Vectors]:
        threads.append(threading.current_thread().name)
        return lambda: first_ids(rows)

    return load


@on_a_loop
async def test_a_short_request_of_the_only_caller_runs_on_the_loop() -> None:
    threads: list[str] = []
    batcher = Batcher(_noting(threads), batch_tokens=64, lone_tokens=4)
    try:
        assert (await batcher.submit([row_of(7, 1), row_of(8)])).tolist() == [[7], [8]]
        assert threads == [threading.current_thread().name]
        state = batcher.state()
        assert (state.batches, state.rows, state.tokens, state.padded_tokens) == (1, 2, 3, 4)
    finally:
        await batcher.close()


@pytest.mark.parametrize(
    ("rows", "priority", "whole", "cache_bytes"),
    [
        ([row_of(7, 1, 2), row_of(8)], Priority.INTERACTIVE, False, 0),  # six with the padding
        ([row_of(7)], Priority.JOB, False, 0),
        ([row_of(7)], Priority.INTERACTIVE, True, 0),
        ([row_of(7)], Priority.INTERACTIVE, False, 1 << 20),
    ],
    ids=["long", "job", "whole", "cached"],
)
@on_a_loop
async def test_others_go_through_the_queue(
    rows: list[Row], priority: Priority, whole: bool, cache_bytes: int
) -> None:
    threads: list[str] = []
    batcher = Batcher(_noting(threads), batch_tokens=64, lone_tokens=4, cache_bytes=cache_bytes)
    try:
        answer = await batcher.submit(rows, priority, whole=whole)
        assert answer.tolist() == first_ids(rows).tolist()
        assert threads == ["model-0"]
    finally:
        await batcher.close()


@on_a_loop
async def test_callers_that_come_together_share_a_batch() -> None:
    threads: list[str] = []
    batcher = Batcher(_noting(threads), batch_tokens=64, lone_tokens=4)
    try:
        answers = await asyncio.gather(*(batcher.submit([row_of(each)]) for each in range(5)))
        assert [each.tolist() for each in answers] == [[[each]] for each in range(5)]
        assert set(threads) == {"model-0"}
    finally:
        await batcher.close()


@on_a_loop
async def test_the_loop_runs_nothing_until_company_has_been_gone_for_a_while() -> None:
    threads: list[str] = []
    now = 0.0
    batcher = Batcher(_noting(threads), batch_tokens=64, lone_tokens=4, clock=lambda: now)
    try:
        await asyncio.gather(batcher.submit([row_of(1)]), batcher.submit([row_of(2)]))
        threads.clear()
        now = LONE_S * 0.9
        await batcher.submit([row_of(3)])
        now = LONE_S * 1.1
        await batcher.submit([row_of(4)])
        assert threads == ["model-0", threading.current_thread().name]
    finally:
        await batcher.close()


@on_a_loop
async def test_a_batch_that_runs_for_nobody_is_not_run_beside() -> None:
    gate = Gate()
    batcher = Batcher(gate, batch_tokens=64, lone_tokens=4)
    try:
        await left_running(gate, batcher, row_of(*range(1, 9)))
        await asyncio.sleep(LONE_S * 1.1)
        asked = submit(batcher, row_of(5))
        await settle()
        assert len(gate.batches) == 1
        gate.open()
        assert (await asked).tolist() == [[5]]
    finally:
        gate.open()
        await batcher.close()


@pytest.mark.parametrize("priority", [Priority.JOB, Priority.INTERACTIVE], ids=["job", "large"])
@on_a_loop
async def test_beside_batches_of_others_the_only_small_request_runs_on_the_loop(
    priority: Priority,
) -> None:
    gate, threads = Gate(), list[str]()
    batcher = Batcher(
        gate, batch_tokens=64, lone_tokens=4, beside=_noting(threads), beside_tokens=3
    )
    try:
        running = submit(batcher, *[row_of(each) for each in range(9)], priority=priority)
        await gate.entered()
        here = threading.current_thread().name
        for _ in range(2):  # the job is no company
            assert (await batcher.submit([row_of(5, 1)])).tolist() == [[5]]
        assert threads == [here, here]
        await asyncio.gather(batcher.submit([row_of(17)]), batcher.submit([row_of(18)]))
        assert set(threads[2:]) == {"model-beside"}
        await asyncio.sleep(LONE_S * 1.1)
        threads.clear()
        assert (await batcher.submit([row_of(19, 1, 1, 1)])).tolist() == [[19]]
        assert threads == ["model-beside"]  # it is too long for the loop
        assert not running.done()
        gate.open()
        assert (await running).tolist() == [[each] for each in range(9)]
    finally:
        gate.open()
        await batcher.close()


@on_a_loop
async def test_a_failure_is_that_of_the_queue() -> None:
    def load(rows: Sequence[Row]) -> Callable[[], Vectors]:
        raise ValueError("broken")

    batcher = Batcher(load, batch_tokens=64, lone_tokens=4)
    try:
        with pytest.raises(InferenceFailed, match="the model failed on the batch"):
            await batcher.submit([row_of(7)])
        assert (batcher.state().batches, batcher.state().failed_batches) == (1, 1)
    finally:
        await batcher.close()
