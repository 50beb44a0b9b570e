"""Work in threads ends with whoever waits for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from service.errors import ClientGone
from service.retrieval.folder import Collections
from service.retrieval.index import IndexWish
from service.retrieval.indexes import Indexes
from service.retrieval.searching import Query
from service.retrieval.store import Store
from service.retrieval.values import Cancel, CollectionSettings, Keys
from service.retrieval.work import CollectionWork, Kind
from tests.service.retrieval.made import DIMENSIONS, entry, unit

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


def test_a_collection_that_is_opened_has_its_vectors_at_hand_before_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, rows = 1100, unit(1100)
    wish = IndexWish("ivf", 0.1, None, {"nlist": 4, "nprobe": 4, "width": 20})
    filled = Collections(tmp_path)
    filled.create("docs", CollectionSettings(DIMENSIONS, index=wish))
    filled.get("docs").upsert([entry(str(number)) for number in range(count)], rows)
    wanted = filled.get("docs").search_ids(Query(1), {1: rows[:1]})
    filled.close()

    fetched: list[int] = []
    gathered = threading.Event()
    fetch, gather = Store.fetch, Indexes.gather

    def counted(store: Store, keys: Keys) -> object:
        fetched.append(len(keys))
        return fetch(store, keys)

    def told(indexes: Indexes, cancel: Cancel) -> None:
        gather(indexes, cancel)
        gathered.set()

    monkeypatch.setattr(Store, "fetch", counted)
    monkeypatch.setattr(Indexes, "gather", told)

    async def run() -> None:
        work = CollectionWork(tmp_path, 1)
        collection = work.collections.get("docs")
        assert await asyncio.to_thread(gathered.wait, PATIENCE_S)
        assert sum(fetched) == count
        (found,) = await work.run(
            "search", lambda _: collection.search_ids(Query(1), {1: rows[:1]})
        )
        assert sum(fetched) == count
        assert found.ids == wanted[0].ids
        np.testing.assert_allclose(found.scores, wanted[0].scores, atol=1e-6)
        await work.close()

    asyncio.run(run())
