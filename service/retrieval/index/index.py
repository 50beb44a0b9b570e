"""The index of a collection: a structure built once, and the rows that came after it."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

from service.errors import IndexDamaged, InvalidInput
from service.retrieval.index import snapshot
from service.retrieval.index.rows import Rows
from service.retrieval.index.values import (
    Fetch,
    Floats,
    Hits,
    IndexReport,
    IndexWish,
    Keys,
    Upkeep,
)


@dataclass(frozen=True, slots=True)
class _State:
    """All that a search reads; a write puts another in its place."""

    rows: Rows


class Index:
    """Vectors under keys, searched by any number of threads while one writes."""

    def __init__(self, state: _State, wish: IndexWish, fetch: Fetch, report: IndexReport) -> None:
        """For `build` and `load`, which callers use."""
        self._state = state
        self._wish = wish
        self._fetch = fetch
        self._report = report
        self._writing = threading.Lock()

    @classmethod
    def build(cls, keys: Keys, vectors: Floats, wish: IndexWish, fetch: Fetch) -> Self:
        """An index of `vectors` (n, dim) under distinct `keys` (n,), as `wish` asks, audited.

        Raises RecallTooLow where the audit finds less than the recall that was asked for.
        """
        started = time.monotonic()
        keys, vectors = _checked(keys, vectors)
        if len(np.unique(keys)) != len(keys):
            raise ValueError("keys repeat: an index is built of distinct ones")
        state = _State(Rows.of(keys, vectors))
        report = IndexReport(
            kind="flat",
            parameters={},
            size=len(keys),
            bytes=0,
            recall=1.0,
            filtered_recall=1.0,
            audited_queries=0,
            build_s=time.monotonic() - started,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return cls(state, wish, fetch, report)

    @property
    def dimension(self) -> int:
        """Numbers of each vector."""
        return int(self._state.rows.vectors.shape[1])

    def __len__(self) -> int:
        """Vectors that a search can find."""
        return self._state.rows.living

    @property
    def report(self) -> IndexReport:
        """What the index is now, and what its audit found when it was built."""
        state = self._state
        return replace(self._report, size=state.rows.living, bytes=state.rows.bytes)

    @property
    def due(self) -> Upkeep | None:
        """What the collection should have done in a thread of its own, if anything."""
        return None

    def add(self, keys: Keys, vectors: Floats) -> None:
        """Take in `vectors` (n, dim) under distinct `keys` (n,), in place of any there already.

        A search sees all of them or none.
        """
        keys, vectors = _checked(keys, vectors)
        if vectors.shape[1] != self.dimension:
            raise InvalidInput(
                f"vectors of {vectors.shape[1]} dimensions; the index holds {self.dimension}"
            )
        if len(np.unique(keys)) != len(keys):
            raise ValueError("keys repeat: add each once")
        with self._writing:
            self._state = _State(self._state.rows.changed(keys, keys, vectors))

    def remove(self, keys: Keys) -> None:
        """Forget `keys`; those that are not here are no error. A search sees all gone, or none."""
        none = np.empty((0, self.dimension), np.float32)
        with self._writing:
            changed = self._state.rows.changed(np.unique(keys), np.empty(0, np.int64), none)
            self._state = _State(changed)

    def absorb(self) -> None:
        """Take what came since the build into the structure; searches and writes go on."""

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
        scores, found = state.rows.search(queries, k, allowed)
        return Hits(np.clip(scores, -1, 1, out=scores, where=found >= 0), found)

    def save(self, path: Path, sequence: int) -> None:
        """Write the index to `path`, whole or not at all, with the store's `sequence` it holds.

        Searches go on; the caller sees to it that what it writes meanwhile counts as later than
        `sequence`. Raises OSError where the disk does not take it.
        """
        state = self._state
        keys, vectors = state.rows.living_rows()
        fields = {"wish": _plain(asdict(self._wish)), "report": _plain(asdict(self.report))}
        sections: dict[str, snapshot.Array] = {"rows.keys": keys, "rows.vectors": vectors}
        snapshot.write(path, snapshot.Snapshot(sequence, self.dimension, fields, sections))

    @classmethod
    def load(cls, path: Path, fetch: Fetch) -> tuple[Self, int]:
        """The index that `save` wrote to `path`, and the sequence number that it holds.

        Raises IndexDamaged for a torn, corrupt or foreign file, OSError where there is none.
        """
        read = snapshot.read(path)
        try:
            keys, vectors = _checked(read.sections["rows.keys"], read.sections["rows.vectors"])
            if vectors.shape[1] != read.dimension:
                raise ValueError(f"rows of {vectors.shape[1]} dimensions, not {read.dimension}")
            wish = IndexWish(**read.fields["wish"])
            report = IndexReport(**read.fields["report"])
        except (ValueError, KeyError, TypeError, InvalidInput) as error:
            raise IndexDamaged(
                f"{path}: not an index of this version ({error}); build it again"
            ) from None
        return cls(_State(Rows.of(keys, vectors)), wish, fetch, report), read.sequence


def _checked(keys: Keys, vectors: Floats) -> tuple[Keys, Floats]:
    """`keys` (n,) and `vectors` (n, dim) in the types that the rest works with."""
    if keys.ndim != 1 or vectors.ndim != 2 or len(keys) != len(vectors):
        raise ValueError(f"keys of shape {keys.shape} with vectors of shape {vectors.shape}")
    if keys.dtype.kind != "i" or (len(keys) and keys.min() < 0):
        raise ValueError("keys are integers of zero and more")
    return np.ascontiguousarray(keys, np.int64), np.ascontiguousarray(vectors, np.float32)


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {
        name: dict(value) if isinstance(value, dict) else value for name, value in values.items()
    }
