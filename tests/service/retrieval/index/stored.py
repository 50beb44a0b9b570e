"""A store in memory and brute force over it: what an index is held against."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from service.retrieval.index import Floats, Keys


@dataclass(slots=True)
class Stored:
    """The truth: a vector for each key."""

    dimension: int
    vectors: dict[int, Floats] = field(default_factory=dict)
    fetched: int = 0

    def put(self, keys: Keys, vectors: Floats) -> None:
        """Upsert."""
        self.vectors.update(zip(keys.tolist(), vectors, strict=True))

    def forget(self, keys: Keys) -> None:
        """Delete what is there."""
        for key in keys.tolist():
            self.vectors.pop(key, None)

    def fetch(self, keys: Keys) -> Floats:
        """As the store of a collection does: NaN for keys that are gone."""
        self.fetched += len(keys)
        gone = np.full(self.dimension, np.nan, np.float32)
        rows = [self.vectors.get(key, gone) for key in keys.tolist()]
        return np.array(rows, np.float32).reshape(len(keys), self.dimension)

    def arrays(self) -> tuple[Keys, Floats]:
        """All keys and their vectors."""
        keys = np.array(list(self.vectors), np.int64)
        return keys, self.fetch(keys)

    def cosines(self, query: Floats, allowed: Keys | None = None) -> dict[int, float]:
        """The cosine of each key with `query`, in float64."""
        among = self.vectors if allowed is None else set(allowed.tolist()) & set(self.vectors)
        return {
            key: float(self.vectors[key].astype(np.float64) @ query.astype(np.float64))
            for key in among
        }


def full_disk(*_: object, **__: object) -> NoReturn:
    """What the system says where a disk takes no more."""
    raise OSError(errno.ENOSPC, "no space left on device")


def unit_rows(rng: np.random.Generator, count: int, dimension: int, spread: float = 0) -> Floats:
    """Random unit rows; with `spread`, in clusters of that width, as real embeddings are."""
    rows = rng.normal(size=(count, dimension))
    if spread:
        centres = rng.normal(size=(max(1, count // 50), dimension))
        rows = centres[rng.integers(0, len(centres), count)] + spread * rows
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
