"""The index of a collection: a structure built once, and the rows that came after it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

from service.errors import InvalidInput, RecallTooLow
from service.faiss_library import threads
from service.retrieval.index import choice, design, exact, stored
from service.retrieval.index.design import Effort, Efforts
from service.retrieval.index.gpu import GpuWish, Mirror, missing
from service.retrieval.index.kept import Kept
from service.retrieval.index.rows import Rows
from service.retrieval.index.searching import Main
from service.retrieval.index.stored import State
from service.retrieval.index.structure import blocks
from service.retrieval.index.values import (
    Fetch,
    Floats,
    Hits,
    IndexReport,
    IndexWish,
    Keys,
    Upkeep,
    checked,
)

logger = logging.getLogger(__name__)

# Up to so many bytes of vectors exact search takes a few milliseconds: 20,000 of 384 dimensions.
_SMALL_BYTES = 32 << 20
# Below this no structure can be trained, or would be faster.
_LEAST_ROWS = 1024
# New rows are taken into the structure when they are more than this many, or this share of it.
_NEW_ROWS = 4096
_NEW_SHARE = 0.01
# It is built anew when this share of it is removed, or it holds so many times what it was made for.
_DEAD_SHARE = 0.2
_OUTGROWN = 3
_FETCHED_ROWS = 16_384


class Index:
    """Vectors under keys, searched by any number of threads while one writes."""

    def __init__(self, state: State, wish: IndexWish, fetch: Fetch, report: IndexReport) -> None:
        """For `build` and `load`, which callers use."""
        self._state = state
        self._wish = wish
        self._fetch = fetch
        self._report = report  # as it was built
        self._writing = threading.Lock()
        self._absorbing = threading.Lock()

    @classmethod
    def build(
        cls,
        keys: Keys,
        vectors: Floats,
        wish: IndexWish,
        fetch: Fetch,
        *,
        on: int = 1,
        folder: Path | None = None,
    ) -> Self:
        """An index of `vectors` (n, dim) under distinct `keys` (n,), as `wish` asks, audited.

        Computes on `on` threads. Vectors are kept in a file without a name in `folder`, by default
        the system's for temporary files. Raises RecallTooLow where the audit finds less than the
        recall that was asked for, and InvalidInput for a wish that these vectors cannot have.
        """
        started = time.monotonic()
        keys, vectors = checked(keys, vectors)
        design.check(wish, vectors.shape[1])
        report = IndexReport("flat", {}, len(keys), 0, 1.0, 1.0, 0, 0.0, "")
        rows = None
        if len(keys) <= _exact_rows(wish, vectors.shape[1]):
            rows = _all_rows(keys, vectors, wish)
        if rows is None:
            built = choice.build(keys, vectors, wish, on)
            passed = choice.passes(built, wish)
            if not passed and wish.kind == "auto":
                rows = _all_rows(keys, vectors, wish)
            if not passed and rows is None:
                raise RecallTooLow(_too_low(built, wish), "index.recall")
            if rows is None:
                report = built.report(report)
                nothing = Rows.of(keys[:0], vectors[:0])
                mirror = _mirror(wish, blocks(vectors), *vectors.shape)
                kept = Kept.empty(len(keys), vectors.shape[1], folder)
                kept.keep(np.arange(len(keys)), vectors)
                at_hand = built.at_hand and kept.takes_more
                main = Main.of(built.structure, built.efforts, kept, mirror=mirror, at_hand=at_hand)
                state = State(nothing, main)
        if rows is not None:
            state = State(rows, None)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        report = replace(report, build_s=time.monotonic() - started, when=when)
        logger.info(
            "index_built kind=%s size=%d recall=%.4f filtered_recall=%.4f build_s=%.1f",
            report.kind,
            report.size,
            report.recall,
            report.filtered_recall,
            report.build_s,
        )
        return cls(state, wish, fetch, report)

    @property
    def dimension(self) -> int:
        """Numbers of each vector."""
        return int(self._state.rows.vectors.shape[1])

    def __len__(self) -> int:
        """Vectors that a search can find."""
        return self._state.living

    @property
    def wish(self) -> IndexWish:
        """What was asked for."""
        return self._wish

    @property
    def effort(self) -> Effort | None:
        """How hard a search without a filter tries; None where it is exact."""
        return self._state.main.efforts.plain if self._state.main else None

    def tried(self, effort: Effort) -> Self:
        """The same vectors searched with another effort, for measuring; not to be written to."""
        main = self._state.main
        if main is None:
            raise ValueError("search is exact here and knows no effort")
        state = replace(self._state, main=replace(main, efforts=Efforts.same(effort)))
        return type(self)(state, self._wish, self._fetch, self._report)

    @property
    def report(self) -> IndexReport:
        """What the index is now, and what its audit found when it was built."""
        state = self._state
        return replace(self._report, size=state.living, bytes=state.bytes)

    @property
    def due(self) -> Upkeep | None:
        """What the collection should have done in a thread of its own, if anything."""
        rows, main = self._state.rows, self._state.main
        if main is None:
            few = _exact_rows(self._wish, self.dimension)
            grown = rows.living > few and rows.living >= 1.5 * self._report.size
            return "rebuild" if grown else None
        size = len(main.structure)
        if (
            size - main.living > _DEAD_SHARE * size
            or size + rows.living > _OUTGROWN * main.structure.trained_size
        ):
            return "rebuild"
        return "absorb" if rows.living > max(_NEW_ROWS, _NEW_SHARE * size) else None

    def add(self, keys: Keys, vectors: Floats) -> None:
        """Take in `vectors` (n, dim) under distinct `keys` (n,), in place of any there already.

        A search sees all of them or none.
        """
        keys, vectors = checked(keys, vectors)
        if vectors.shape[1] != self.dimension:
            raise InvalidInput(
                f"vectors of {vectors.shape[1]} dimensions; the index holds {self.dimension}"
            )
        with self._writing:
            self._state = self._state.changed(keys, keys, vectors)

    def remove(self, keys: Keys) -> None:
        """Forget `keys`; those that are not here are no error. A search sees all gone, or none."""
        with self._writing:
            nothing = np.empty((0, self.dimension), np.float32)
            self._state = self._state.changed(np.unique(keys), np.empty(0, np.int64), nothing)

    def absorb(self) -> None:
        """Take what came since the build into the structure; searches and writes go on."""
        with self._absorbing:
            before = self._state
            if before.main is None or not before.rows.living:
                return
            keys, vectors = before.rows.living_rows()
            stamps = before.rows.living_stamps()
            grown = before.main.structure.grown(keys, vectors)
            kept = before.main.kept.grown(vectors)
            if before.main.mirror:
                before.main.mirror.add(vectors)
            with self._writing:
                self._state = self._state.absorbed(grown, kept, keys, stamps)

    def gather(self, check: Callable[[], None] = lambda: None) -> None:
        """Read the vectors of the structure that are not at hand, if there is memory for them all.

        Searches and writes go on, and find the same as before, sooner. Nothing is read where all
        are at hand, as after a build. `check` is called now and then; what it raises ends this.
        """
        with self._absorbing:
            main = self._state.main
            if main is None or not main.at_hand:
                return
            structure, kept = main.structure, main.kept
            for start in range(0, len(structure), _FETCHED_ROWS):
                check()
                if not kept.takes_more:
                    return
                some = slice(start, start + _FETCHED_ROWS)
                positions = start + np.flatnonzero(main.alive[some] & ~kept.there[some])
                if len(positions):
                    kept.fetched(positions, lambda some: self._fetch(structure.keys[some]))

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> Hits:
        """The k nearest of each of `queries` (q, dim), unit rows; only `allowed` keys where given.

        Scores are exact cosines. Raises InvalidInput for queries of another dimension.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidInput(
                f"queries of shape {queries.shape}; this index takes (n, {self.dimension})"
            )
        if k < 1:
            raise InvalidInput(f"k is {k}; ask for at least 1")
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = np.unique(allowed)
        state = self._state
        with threads(1):
            hits = None
            if state.main is not None:
                hits = state.main.search(queries, k, allowed, self._fetch)
            if hits is None or state.rows.count:
                newer = state.rows.search(queries, k, allowed)
                hits = newer if hits is None else exact.merged(hits, newer, k)
        scores, keys = hits
        return Hits(np.clip(scores, -1, 1, out=scores, where=keys >= 0), keys)

    def save(self, path: Path, sequence: int) -> None:
        """Write the index to `path`, whole or not at all, with the store's `sequence` it holds.

        Searches and writes go on; what is written meanwhile counts as later than `sequence`.
        Raises OSError where the disk does not take it.
        """
        stored.write(path, self._state, self._wish, self._report, sequence)

    @classmethod
    def load(cls, path: Path, fetch: Fetch) -> tuple[Self, int]:
        """The index that `save` wrote to `path`, and the sequence number that it holds.

        Raises IndexDamaged for a torn, corrupt or foreign file, OSError where there is none.
        """
        state, wish, report, sequence = stored.read(path)
        if main := state.main:
            keys = main.structure.keys
            vectors = (
                fetch(keys[at : at + _FETCHED_ROWS]) for at in range(0, len(keys), _FETCHED_ROWS)
            )
            mirror = _mirror(wish, map(np.nan_to_num, vectors), len(keys), main.structure.dimension)
            state = replace(state, main=replace(main, mirror=mirror))
        return cls(state, wish, fetch, report), sequence


def _mirror(wish: IndexWish, vectors: Iterable[Floats], rows: int, dimension: int) -> Mirror | None:
    """The vectors on the GPU that was wished for, if there is one."""
    if wish.device == "cpu" or (wish.device == "auto" and missing()):
        return None
    return Mirror.of(vectors, rows, dimension, GpuWish(memory_bytes=wish.gpu_memory_bytes))


def _exact_rows(wish: IndexWish, dimension: int) -> float:
    """Up to how many vectors are searched exactly at once, with nothing built."""
    if wish.kind == "flat":
        return float("inf")
    if wish.kind == "auto":
        return max(_LEAST_ROWS, _SMALL_BYTES / (4 * max(dimension, 1)))
    return _LEAST_ROWS


def _all_rows(keys: Keys, vectors: Floats, wish: IndexWish) -> Rows | None:
    """Exact search of everything, None where the memory that `wish` allows is too little."""
    allowed = wish.memory_bytes
    if allowed is not None and vectors.nbytes > allowed:
        if wish.kind == "flat":
            raise InvalidInput(
                f"index.memory_bytes is {allowed}; flat needs {vectors.nbytes} for {len(keys)} "
                "vectors: allow more, or let index.kind be auto",
                "index.memory_bytes",
            )
        return None
    return Rows.of(keys, vectors)


def _too_low(built: choice.Built, wish: IndexWish) -> str:
    return (
        f"the {built.structure.design.kind} index finds {built.recall:.3f} of the nearest, "
        f"{built.filtered_recall:.3f} under a filter, and {wish.recall} was asked for; ask for "
        "less, leave index.parameters out, or let index.kind be auto with more memory"
    )
