"""A model that runs a batch when the test lets it, and short ways to a batcher before it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np

from service.encoding.batching import Batcher, Priority
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row, pack, unpack
from tests.fakes import PATIENCE_S

Infer = Callable[[Sequence[Row]], Vectors]
Task = asyncio.Task[Vectors]


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, run to its end on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def row_of(*ids: int) -> Row:
    """A row of these token ids, for the first adapter."""
    return Row(pack(ids), 0)


def first_ids(rows: Sequence[Row]) -> Vectors:
    """A model whose vector of a row is its first token's id."""
    return np.array([[unpack(row.ids)[0]] for row in rows], np.float32)


class Gate:
    """A model that runs a batch when the test lets it, and keeps the rows that came."""

    def __init__(self, infer: Infer = first_ids) -> None:
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

    def hold_until_entered(self) -> None:
        """The same without letting anything else on the event loop run."""
        assert self._entered.acquire(timeout=PATIENCE_S)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def submit(batcher: Batcher, *rows: Row, priority: Priority = Priority.INTERACTIVE) -> Task:
    return asyncio.create_task(batcher.submit(rows, priority))


async def left_running(gate: Gate, batcher: Batcher, row: Row) -> None:
    """A batch of one row that the model runs, whose caller has gone."""
    leaver = submit(batcher, row)
    await gate.entered()
    leaver.cancel()
    await settle()


async def with_next_formed(gate: Gate, batcher: Batcher) -> list[Task]:
    """Ten requests of a batch each: the second runs, and the third is formed meanwhile."""
    tasks = [submit(batcher, *[row_of(n, 7)] * 5) for n in range(100, 110)]
    await gate.entered()
    gate.let_one_through()
    # The loop is held: it might else form the second batch before the model's thread takes it.
    gate.hold_until_entered()
    while len(gate.loaded) < 3:
        await asyncio.sleep(0)
    return tasks


def opened(gate: Gate) -> Gate:
    gate.open()
    return gate
