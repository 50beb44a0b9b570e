"""Work in threads ends with whoever waits for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from service.errors import ClientGone
from service.retrieval.values import Cancel
from service.retrieval.work import CollectionWork, Kind

PATIENCE_S = 30


def test_work_that_nobody_waits_for_is_told_to_stop(tmp_path: Path) -> None:
    started, stopped = threading.Event(), threading.Event()

    def search(cancel: Cancel) -> None:
        started.set()
        while True:
            try:
                cancel.check()
            except ClientGone:
                stopped.set()
                raise

    async def run() -> None:
        work = CollectionWork(tmp_path, 1)
        task = asyncio.create_task(work.run("search", search))
        assert await asyncio.to_thread(started.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stopped.wait, PATIENCE_S)
        await work.close()

    asyncio.run(run())


def test_searches_do_not_wait_for_writes_nor_either_for_slow_work(tmp_path: Path) -> None:
    gate = threading.Event()
    others: tuple[Kind, ...] = ("write", "slow")

    async def run() -> None:
        work = CollectionWork(tmp_path, 1)
        held = [
            asyncio.create_task(work.run(kind, lambda _: gate.wait(PATIENCE_S)))
            for kind in others
            for _ in range(8)
        ]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(work.run("search", lambda _: 5), PATIENCE_S) == 5
        gate.set()
        assert all(await asyncio.gather(*held))
        await work.close()

    asyncio.run(run())
