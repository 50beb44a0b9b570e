"""The vectors of a structure by position, near enough to score candidates by them exactly.

The store gives a vector in microseconds, and a search needs a dozen or two: more than all the rest
of it takes. So they are kept in a file without a name, which the system holds in memory as far as
there is room and drops where there is none, and which ends with the process. Nothing in it is the
truth: what it does not have is asked of the store.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from service.faiss_library import faiss, threads
from service.retrieval.index.values import Bools, Floats, Keys

logger = logging.getLogger(__name__)

# The vectors at positions, (n, dim), NaN where the store no longer has one.
FetchPositions = Callable[[Keys], Floats]


class _File:
    """An open file without a name, closed when nobody refers to this any more."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            self.number = os.dup(file.fileno())
        self.warned = False  # that it takes no more: each search finds that out again
        weakref.finalize(self, os.close, self.number)


@dataclass(frozen=True, slots=True)
class Kept:
    """Vectors by position. Any number of threads may score by them, and keep more, at a time."""

    rows: Floats  # (n, dim), not to be written to
    there: Bools  # (n,) which of them may be read; set after the row is whole, never taken back
    file: _File | None  # behind `rows`; None where nothing more is kept

    @classmethod
    def of(cls, vectors: Floats) -> Self:
        """All `vectors` (n, dim), where they are."""
        return cls(np.ascontiguousarray(vectors), np.ones(len(vectors), np.bool_), None)

    @classmethod
    def empty(cls, count: int, dimension: int, folder: Path | None) -> Self:
        """Room for `count` vectors, at least one, in a file in `folder` (the system's, if None).

        Where the disk takes no file, none is ever kept.
        """
        try:
            file = _File(folder)
            return cls(_mapped(file, count, dimension), np.zeros(count, np.bool_), file)
        except OSError as error:
            _warn(error)
            return cls._nothing(count, dimension)

    @classmethod
    def _nothing(cls, count: int, dimension: int) -> Self:
        # Zeros that nobody reads take no memory.
        return cls(np.zeros((count, dimension), np.float32), np.zeros(count, np.bool_), None)

    @property
    def takes_more(self) -> bool:
        """Whether what is fetched is kept: there is a file, and the disk has had room for it."""
        return self.file is not None and not self.file.warned

    def grown(self, vectors: Floats) -> Self:
        """The same with `vectors` (m, dim) behind; this one stays as it is."""
        count, dimension = self.rows.shape
        more = len(vectors)
        if self.file is None:
            return self._nothing(count + more, dimension)
        try:
            rows = _mapped(self.file, count + more, dimension)
        except OSError as error:
            _warn(error)
            return self._nothing(count + more, dimension)
        after = type(self)(rows, np.append(self.there, np.zeros(more, np.bool_)), self.file)
        after.keep(np.arange(count, count + more), vectors)
        return after

    def keep(self, positions: Keys, vectors: Floats) -> None:
        """Remember the `vectors` (n, dim) at rising `positions` (n,), if the disk has room."""
        if self.file is None or not len(positions):
            return
        vectors = np.ascontiguousarray(vectors, np.float32)
        # Written as a file, not through the mapping: a full disk is an error there, and kills here.
        firsts = np.flatnonzero(np.diff(positions, prepend=-2) != 1).tolist()
        for first, end in zip(firsts, [*firsts[1:], len(positions)], strict=True):
            place = int(positions[first])
            try:
                _write(self.file, vectors[first:end], place * vectors[0].nbytes)
            except OSError as error:
                if not self.file.warned:
                    self.file.warned = True
                    _warn(error)
                return
            self.there[place : place + end - first] = True

    def scores(self, queries: Floats, positions: Keys, fetch: FetchPositions) -> Floats:
        """The cosines of each query with its `positions` (queries, m).

        -inf where the position is -1, or has no vector any more. What is not here is fetched, and
        here the next time.
        """
        known = (positions >= 0) & self.there[positions]
        scores = _cosines(queries, self.rows, np.where(known, positions, -1))
        missing = (positions >= 0) & ~known
        if missing.any():
            distinct, which = np.unique(positions[missing], return_inverse=True)
            places = np.full(positions.shape, -1, np.int64)
            places[missing] = which
            # By the same sums as above, or a score's last digit would tell what was kept.
            found = _cosines(queries, self.fetched(distinct, fetch), places)[missing]
            scores[missing] = np.where(np.isnan(found), -np.inf, found)
        return scores

    def fetched(self, positions: Keys, fetch: FetchPositions) -> Floats:
        """What `fetch` gives for rising `positions`, and here the next time."""
        vectors = fetch(positions)
        present = ~np.isnan(vectors[:, 0])
        self.keep(positions[present], vectors[present])
        return vectors


def _cosines(queries: Floats, rows: Floats, places: Keys) -> Floats:
    """Of each query with the rows at its `places` (queries, m); -inf where the place is -1."""
    scores = np.empty(places.shape, np.float32)
    rows = np.ascontiguousarray(rows, np.float32)
    with threads(1):
        faiss.fvec_inner_products_by_idx(
            *map(faiss.swig_ptr, (scores, queries, rows, places)), queries.shape[1], *places.shape
        )
    return scores


def _warn(error: OSError) -> None:
    logger.warning("vectors_not_kept reason=%r", str(error))


def _mapped(file: _File, count: int, dimension: int) -> Floats:
    """The file as (count, dimension), made longer where it is shorter; holes read as zeros."""
    size = 4 * count * dimension
    if os.fstat(file.number).st_size < size:
        os.ftruncate(file.number, size)
    content = mmap.mmap(file.number, size, access=mmap.ACCESS_READ)
    return np.frombuffer(content, np.float32).reshape(count, dimension)


def _write(file: _File, vectors: Floats, offset: int) -> None:
    content = vectors.reshape(-1).view(np.uint8).data
    while content:
        written = os.pwrite(file.number, content, offset)
        content, offset = content[written:], offset + written
