"""The vectors of a structure on a GPU too, where there is one: all compared, in float16 or float32.

A GPU compares millions of rows in a millisecond, so nothing approximate is needed there: the mirror
is a `GpuIndexFlat` over the same positions as the structure, which stays in memory for filters, for
what the GPU cannot do, and for when it fails. The mirror is derived: snapshots do not hold it.

FAISS's GPU resources are one worker's: two threads must not use them at a time. So one searches,
and what others ask for meanwhile goes into the next batch together.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from service.faiss_library import faiss
from service.retrieval.index.values import Floats, Keys

logger = logging.getLogger(__name__)

# FAISS selects at most so many on a GPU.
MOST_HITS = 2048
_TEMPORARY_BYTES = 256 << 20
_BATCH_QUERIES = 4096

Found = tuple[Floats, Keys]


@dataclass(frozen=True, slots=True)
class GpuWish:
    """Which GPU, in which precision the vectors lie there, and what they may take there."""

    device: int = 0
    float16: bool = True
    memory_bytes: int | None = None


def missing() -> str | None:
    """Why there is no GPU for FAISS; None where there is one."""
    if not hasattr(faiss, "StandardGpuResources"):
        return "this FAISS is built for the CPU; install the extra gpu"
    if faiss.get_num_gpus() < 1:
        return "FAISS finds no GPU; is the driver there, and of CUDA 12 or later?"
    return None


class Mirror:
    """Rows on a GPU by position, searched by any number of threads."""

    def __init__(self, index: Any, resources: object) -> None:  # noqa: ANN401
        """Around an index of FAISS, which `resources` must outlive; see `of`."""
        self._index = index
        self._resources = resources
        self._worker = Worker(self._search)
        self._failed = False

    @classmethod
    def of(cls, blocks: Iterable[Floats], rows: int, dimension: int, wish: GpuWish) -> Self | None:
        """`rows` rows in blocks on the GPU; None, with one warning, where that cannot be."""
        if reason := missing():
            _without(reason)
            return None
        needed = rows * dimension * (2 if wish.float16 else 4)
        if wish.memory_bytes is not None and needed + _TEMPORARY_BYTES > wish.memory_bytes:
            _without(f"{rows} vectors need {needed} bytes of {wish.memory_bytes} allowed")
            return None
        try:
            resources = faiss.StandardGpuResources()
            resources.setTempMemory(_TEMPORARY_BYTES)
            config = faiss.GpuIndexFlatConfig()
            config.device = wish.device
            config.useFloat16 = wish.float16
            index = faiss.GpuIndexFlatIP(resources, dimension, config)
            for block in blocks:
                index.add(np.ascontiguousarray(block, np.float32))
        except RuntimeError as error:  # out of memory, no such device, no kernels for it
            _without(str(error).strip().splitlines()[-1])
            return None
        return cls(index, resources)

    def search(self, queries: Floats, k: int) -> Found | None:
        """Cosines, rounded as the rows are, and positions of the k best; None where it fails."""
        if self._failed or k > MOST_HITS:
            return None
        try:
            return self._worker.search(queries, k)
        except RuntimeError as error:
            self._fail(error)
            return None

    def add(self, vectors: Floats) -> None:
        """Append rows, between two searches."""
        if self._failed:
            return
        try:
            self._worker.between(lambda: self._index.add(np.ascontiguousarray(vectors)))
        except RuntimeError as error:
            self._fail(error)

    def _fail(self, error: RuntimeError) -> None:
        if not self._failed:
            self._failed = True
            _without(str(error).strip().splitlines()[-1])

    def _search(self, queries: Floats, k: int) -> Found:
        scores, positions = self._index.search(queries, min(k, max(1, self._index.ntotal)))
        return scores, positions


@dataclass(slots=True)
class _Request:
    queries: Floats
    k: int
    found: Found | None = None
    error: Exception | None = None


class Worker:
    """Runs one search at a time, and puts those that wait meanwhile into one."""

    def __init__(self, search: Callable[[Floats, int], Found]) -> None:
        self._run = search
        self._running = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Request] = []

    def search(self, queries: Floats, k: int) -> Found:
        """What the search finds for these queries alone; raises what it raises."""
        request = _Request(queries, k)
        with self._guard:
            self._waiting.append(request)
        with self._running:
            # Whoever ran before may have answered this request with its own.
            while request.found is None and request.error is None:
                self._run_together(self._take())
        if request.error is not None:
            raise request.error
        assert request.found is not None
        return request.found

    def between(self, action: Callable[[], None]) -> None:
        """Run `action` while no search runs."""
        with self._running:
            action()

    def _take(self) -> list[_Request]:
        """The first that wait, as many as make a batch."""
        with self._guard:
            count, queries = 0, 0
            for request in self._waiting:
                queries += len(request.queries)
                if count and queries > _BATCH_QUERIES:
                    break
                count += 1
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _run_together(self, requests: list[_Request]) -> None:
        try:
            k = max(request.k for request in requests)
            together = np.concatenate([request.queries for request in requests])
            scores, positions = self._run(together, k)
        except Exception as error:  # every one of them ends
            for request in requests:
                request.error = error
            return
        start = 0
        for request in requests:
            end = start + len(request.queries)
            request.found = (
                np.ascontiguousarray(scores[start:end, : request.k]),
                np.ascontiguousarray(positions[start:end, : request.k]),
            )
            start = end


def _without(reason: str) -> None:
    logger.warning("index_without_gpu reason=%r; searched on the CPU", reason)
