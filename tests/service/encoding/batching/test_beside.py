"""Small requests run beside a batch of others, where the model can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.encoding.batching import Batcher, Priority
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row
from service.errors import InferenceFailed, NotReady
from tests.service.encoding.batching.gate import (
    Gate,
    on_a_loop,
    opened,
    row_of,
    settle,
    submit,
)

_LARGE = [row_of(number, 1, 1) for number in range(100, 106)]


@pytest.mark.parametrize("priority", Priority)
@on_a_loop
async def test_a_small_request_does_not_wait_for_a_large_one(priority: Priority) -> None:
    gate, beside = Gate(), opened(Gate())
    batcher = Batcher(gate, batch_tokens=100, beside=beside)
    large = submit(batcher, *_LARGE, priority=priority)
    await gate.entered()
    for number in range(3):
        assert (await batcher.submit([row_of(number)])).tolist() == [[number]]
    assert not large.done()
    assert beside.batches == [[[0]], [[1]], [[2]]]
    assert {name for name, _ in beside.loaded} == {"model-beside"}
    gate.open()
    assert (await large).tolist() == [[number] for number in range(100, 106)]
    await batcher.close()
    assert gate.batches == [[[number, 1, 1] for number in range(100, 106)]]


@on_a_loop
async def test_a_batch_beside_is_short_and_of_small_requests() -> None:
    gate, beside = Gate(), Gate()
    batcher = Batcher(gate, batch_tokens=100, beside=beside, beside_tokens=4)
    tasks = [submit(batcher, *_LARGE, *_LARGE, row_of(9, 9))]
    await gate.entered()
    tasks += [submit(batcher, row_of(1))]
    await beside.entered()
    tasks += [submit(batcher, row_of(number)) for number in range(2, 8)]
    tasks += [
        submit(batcher, *_LARGE, row_of(8)),
        submit(batcher, row_of(8, 8), priority=Priority.JOB),
    ]
    await settle()
    beside.open()
    await asyncio.gather(*tasks[1:8])
    gate.open()
    await asyncio.gather(*tasks)
    await batcher.close()
    assert beside.batches == [[[1]], [[2], [3], [4], [5]], [[6], [7]]]


@on_a_loop
async def test_nothing_runs_beside_small_requests() -> None:
    gate, beside = Gate(), opened(Gate())
    batcher = Batcher(gate, batch_tokens=100, beside=beside)
    tasks = [submit(batcher, row_of(1))]
    await gate.entered()
    tasks += [submit(batcher, row_of(number)) for number in (2, 3)]
    await settle()
    gate.open()
    await asyncio.gather(*tasks)
    await batcher.close()
    assert beside.batches == []
    assert gate.batches == [[[1]], [[2], [3]]]


@on_a_loop
async def test_a_failure_beside_ends_only_its_own_request() -> None:
    def refuse(rows: Sequence[Row]) -> Vectors:
        raise ValueError("a secret")

    gate, beside = Gate(), opened(Gate(refuse))
    batcher = Batcher(gate, batch_tokens=100, beside=beside)
    large = submit(batcher, *_LARGE)
    await gate.entered()
    with pytest.raises(InferenceFailed):
        await batcher.submit([row_of(1)])
    gate.open()
    assert len(await large) == len(_LARGE)
    assert (await batcher.submit([row_of(1)])).tolist() == [[1]]
    await batcher.close()
    assert batcher.state().failed_batches == 1


@on_a_loop
async def test_closing_ends_the_thread_that_waits_and_answers_what_was_taken() -> None:
    gate, beside = Gate(), Gate()
    batcher = Batcher(gate, batch_tokens=100, beside=beside)
    tasks = [submit(batcher, *_LARGE)]
    await gate.entered()
    tasks += [submit(batcher, row_of(1))]
    await beside.entered()
    closing = asyncio.create_task(batcher.close())
    await settle()
    with pytest.raises(NotReady):
        await batcher.submit([row_of(2)])
    beside.open()
    gate.open()
    assert [answer.tolist()[0] for answer in await asyncio.gather(*tasks)] == [[100], [1]]
    await closing
    assert not any(thread.is_alive() for thread in batcher._threads)
