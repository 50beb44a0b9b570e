"""Collections for a server: work in threads of their own, so that the event loop never waits."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from service.errors import ClientGone
from service.retrieval.folder import Collections
from service.retrieval.indexes import Indexes
from service.retrieval.values import Cancel

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

Kind = Literal["search", "write", "slow"]

# Threads of each kind. Searches are not held up by writes, nor writes by what takes minutes;
# writes wait for each other anyway.
_THREADS: dict[Kind, int] = {"search": 4, "write": 2, "slow": 2}


class CollectionWork:
    """The collections of a state folder behind `await`, to be made inside a running event loop."""

    def __init__(self, state: Path, owner: int) -> None:
        # Those that are opened, too: an earlier process may have been killed before it did.
        self.collections = Collections(state, owner=owner, tend=self._tend, opened=self._tend)
        self._pools = {
            kind: ThreadPoolExecutor(threads, thread_name_prefix=f"collections-{kind}")
            for kind, threads in _THREADS.items()
        }
        self._tending: set[Indexes] = set()
        self._guard = threading.Lock()
        self._closing = Cancel()

    async def run(self, kind: Kind, function: Callable[[Cancel], _Result]) -> _Result:
        """What `function` makes in a thread of a kind; told to stop where the caller gives up."""
        cancel = Cancel()

        def work() -> _Result:
            cancel.check()  # it may have waited long
            return function(cancel)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pools[kind], work)
        except asyncio.CancelledError:
            cancel.set()
            raise

    async def close(self) -> None:
        """End what runs, save and give the folder back."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._closing.set()
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self.collections.close()

    def _tend(self, indexes: Indexes) -> None:
        """Have vectors read and what is due done, once at a time for each collection."""
        with self._guard:
            if indexes in self._tending:
                return
            self._tending.add(indexes)
        try:
            self._pools["slow"].submit(self._tend_now, indexes)
        except RuntimeError:  # closing: the indexes are saved then anyway
            self._tend_done(indexes)

    def _tend_now(self, indexes: Indexes) -> None:
        try:
            indexes.gather(self._closing)
            indexes.tend()
        except ClientGone:  # closing
            return
        except Exception:
            logger.exception("index_upkeep_failed")
        finally:
            self._tend_done(indexes)

    def _tend_done(self, indexes: Indexes) -> None:
        with self._guard:
            self._tending.discard(indexes)
