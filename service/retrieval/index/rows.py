"""Vectors searched exactly: all of a small collection, the newest of a large one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.retrieval.index import exact
from service.retrieval.index.values import Bools, Floats, Keys

# Removed rows are cleared out where they are more than this share, or few rows are left.
_DEAD_SHARE = 0.25
_FIRST_CAPACITY = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that never change once they are seen: a write makes another value.

    The arrays may be longer than `count`. The next value of the same line writes behind it, which
    no reader of this one looks at; so values have one writer, and only the newest is appended to.
    """

    vectors: Floats  # (capacity, dim)
    keys: Keys  # (capacity,)
    alive: Bools  # (count,)
    living: int
    # Where each living key stands; shared along the line, so only for the writer.
    places: dict[int, int]

    @classmethod
    def of(cls, keys: Keys, vectors: Floats) -> Self:
        """Copies of distinct `keys` and of their `vectors`."""
        count = len(keys)
        places = {key: place for place, key in enumerate(keys.tolist())}
        alive = np.ones(count, np.bool_)
        return cls(np.array(vectors, np.float32, order="C"), keys.copy(), alive, count, places)

    @property
    def count(self) -> int:
        """Rows, the removed ones included."""
        return len(self.alive)

    @property
    def bytes(self) -> int:
        """Memory held, the dictionary of places estimated."""
        return self.vectors.nbytes + self.keys.nbytes + self.alive.nbytes + 100 * len(self.places)

    def changed(self, removed: Keys, keys: Keys, vectors: Floats) -> Self:
        """Without `removed`, which may name keys that are not here, and with distinct `keys`,
        none of which is among what is left."""
        gone = {key: self.places[key] for key in removed.tolist() if key in self.places}
        alive = self.alive
        if gone:
            alive = alive.copy()
            alive[list(gone.values())] = False
        after = type(self)(self.vectors, self.keys, alive, self.living - len(gone), self.places)
        if self.count - after.living > _DEAD_SHARE * self.count:
            return type(self).of(*after.living_rows())._appended(keys, vectors, ())
        return after._appended(keys, vectors, gone)

    def _appended(self, keys: Keys, vectors: Floats, gone: Iterable[int]) -> Self:
        count = self.count
        wanted = count + len(keys)
        all_vectors, all_keys = self.vectors, self.keys
        if wanted > len(all_keys):
            capacity = max(_FIRST_CAPACITY, wanted, len(all_keys) * 3 // 2)
            all_vectors = np.empty((capacity, self.vectors.shape[1]), np.float32)
            all_vectors[:count] = self.vectors[:count]
            all_keys = np.empty(capacity, np.int64)
            all_keys[:count] = self.keys[:count]
        all_vectors[count:wanted] = vectors
        all_keys[count:wanted] = keys
        alive = np.concatenate([self.alive, np.ones(len(keys), np.bool_)])
        # Last, since the dictionary is the one thing that is changed and not made anew: a write
        # that fails before, for want of memory, leaves all as it was.
        for key in gone:
            del self.places[key]
        self.places.update(zip(keys.tolist(), range(count, wanted), strict=True))
        return type(self)(all_vectors, all_keys, alive, self.living + len(keys), self.places)

    def living_rows(self) -> tuple[Keys, Floats]:
        """The keys and vectors that are not removed."""
        count = self.count
        if self.living == count:
            return self.keys[:count], self.vectors[:count]
        return self.keys[:count][self.alive], self.vectors[:count][self.alive]

    def search(self, queries: Floats, k: int, allowed: Keys | None) -> tuple[Floats, Keys]:
        """The k best of each query: cosines and keys, among `allowed` (sorted) where given."""
        count = self.count
        mask = None if self.living == count else self.alive
        if allowed is not None:
            among = members(self.keys[:count], allowed)
            mask = among if mask is None else among & mask
        scores, rows = exact.nearest(queries, self.vectors[:count], k, mask)
        keys = np.where(rows >= 0, self.keys[rows], -1) if count else rows
        return scores, keys


def members(keys: Keys, allowed: Keys) -> Bools:
    """Which of `keys` are among the sorted keys `allowed`."""
    if not len(allowed):
        return np.zeros(len(keys), np.bool_)
    places = np.searchsorted(allowed, keys)
    found: Bools = allowed[np.minimum(places, len(allowed) - 1)] == keys
    return found
