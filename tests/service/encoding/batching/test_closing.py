"""A queue that closes answers what it accepted."""

from __future__ import annotations

import asyncio

import pytest

from service.encoding.batching import Batcher
from service.encoding.session import Vectors
from service.errors import NotReady
from tests.fakes import PATIENCE_S
from tests.service.encoding.batching.gate import Gate, left_running, row_of, settle, submit


def test_closing_answers_what_was_submitted_and_refuses_the_rest() -> None:
    gate = Gate()

    async def scenario() -> list[Vectors]:
        batcher = Batcher(gate, batch_tokens=2)
        # Of the last not even all rows are queued when the queue is told to close.
        tasks = [submit(batcher, row_of(n), row_of(n)) for n in range(4)]
        tasks.append(submit(batcher, *[row_of(n) for n in range(1_000)]))
        await gate.entered()
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        assert not closing.done()
        assert not batcher.running
        with pytest.raises(NotReady):
            await batcher.submit([row_of(9)])
        gate.open()
        await closing
        return [task.result() for task in tasks]

    *small, large = asyncio.run(scenario())
    assert [answer.tolist() for answer in small] == [[[n], [n]] for n in range(4)]
    assert large[:, 0].tolist() == list(range(1_000))


def test_closing_waits_for_a_batch_that_runs_though_nobody_wants_it() -> None:
    gate = Gate()

    async def scenario() -> None:
        batcher = Batcher(gate, batch_tokens=2)
        await left_running(gate, batcher, row_of(1))
        closing = asyncio.create_task(batcher.close())
        await settle()
        assert not closing.done()
        gate.open()
        await closing
        assert not any(thread.is_alive() for thread in batcher._threads)

    asyncio.run(scenario())


def test_a_queue_that_is_stopped_hard_leaves_no_caller_waiting() -> None:
    gate = Gate()

    async def scenario() -> list[Vectors | BaseException]:
        batcher = Batcher(gate, batch_tokens=1)
        tasks = [submit(batcher, row_of(n)) for n in range(3)]
        await gate.entered()
        closing = asyncio.create_task(batcher.close())
        await settle()
        closing.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
        assert not batcher.running
        gate.open()
        return answers

    assert {type(answer) for answer in asyncio.run(scenario())} == {NotReady}
