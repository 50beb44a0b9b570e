"""Vectors searched exactly: all of a small collection, the newest of a large one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from service.retrieval.index import exact
from service.retrieval.index.values import Bools, Floats, Keys

# Removed rows are cleared out when they are more than this. Until then a search asks for so many
# hits more, which costs less than testing every row.
_DEAD_ROWS = 64
_FIRST_CAPACITY = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that never change once they are seen: a write makes another value.

    The arrays may be longer than `count`. The next value of the same line writes behind it, which
    no reader of this one looks at; so values have one writer, and only the newest is appended to.
    """

    vectors: Floats  # (capacity, dim)
    keys: Keys  # (capacity,)
    stamps: Keys  # (capacity,), rising: tells a key's later vector from an earlier one
    alive: Bools  # (count,)
    living: int
    next_stamp: int
    # Where each living key stands; shared along the line, so only for the writer.
    places: dict[int, int]

    @classmethod
    def of(cls, keys: Keys, vectors: Floats) -> Self:
        """Copies of distinct `keys` and of their `vectors`."""
        count = len(keys)
        places = {key: place for place, key in enumerate(keys.tolist())}
        alive = np.ones(count, np.bool_)
        vectors = np.array(vectors, np.float32, order="C")
        return cls(vectors, keys.copy(), np.arange(count), alive, count, count, places)

    @property
    def count(self) -> int:
        """Rows, the removed ones included."""
        return len(self.alive)

    @property
    def bytes(self) -> int:
        """Memory held, the dictionary of places estimated."""
        return (
            self.vectors.nbytes + 2 * self.keys.nbytes + self.alive.nbytes + 100 * len(self.places)
        )

    def changed(self, removed: Keys, keys: Keys, vectors: Floats) -> Self:
        """Without `removed`, which may name keys that are not here, and with distinct `keys`,
        none of which is among what is left."""
        gone = {key: self.places[key] for key in removed.tolist() if key in self.places}
        alive = self.alive
        if gone:
            alive = alive.copy()
            alive[list(gone.values())] = False
        after = replace(self, alive=alive, living=self.living - len(gone))
        if self.count - after.living > _DEAD_ROWS:
            after, gone = after._compacted(), {}
        return after._appended(keys, vectors, gone)

    def _compacted(self) -> Self:
        kept = np.flatnonzero(self.alive)
        after = type(self).of(self.keys[kept], self.vectors[kept])
        return replace(after, stamps=self.stamps[kept], next_stamp=self.next_stamp)

    def _appended(self, keys: Keys, vectors: Floats, gone: Iterable[int]) -> Self:
        count = self.count
        wanted = count + len(keys)
        room = self
        if wanted > len(self.keys):
            room = self._with_capacity(max(_FIRST_CAPACITY, wanted, len(self.keys) * 3 // 2))
        next_stamp = self.next_stamp + len(keys)
        room.vectors[count:wanted] = vectors
        room.keys[count:wanted] = keys
        room.stamps[count:wanted] = np.arange(self.next_stamp, next_stamp)
        alive = np.concatenate([self.alive, np.ones(len(keys), np.bool_)])
        # Last, since the dictionary is the one thing that is changed and not made anew: a write
        # that fails before, for want of memory, leaves all as it was.
        for key in gone:
            del self.places[key]
        self.places.update(zip(keys.tolist(), range(count, wanted), strict=True))
        living = self.living + len(keys)
        return replace(room, alive=alive, living=living, next_stamp=next_stamp)

    def _with_capacity(self, capacity: int) -> Self:
        count = self.count
        vectors = np.empty((capacity, self.vectors.shape[1]), np.float32)
        keys, stamps = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
        vectors[:count] = self.vectors[:count]
        keys[:count] = self.keys[:count]
        stamps[:count] = self.stamps[:count]
        return replace(self, vectors=vectors, keys=keys, stamps=stamps)

    def living_rows(self) -> tuple[Keys, Floats]:
        """The keys and vectors that are not removed."""
        count = self.count
        if self.living == count:
            return self.keys[:count], self.vectors[:count]
        return self.keys[:count][self.alive], self.vectors[:count][self.alive]

    def living_stamps(self) -> Keys:
        """The stamps of `living_rows`."""
        return self.stamps[: self.count][self.alive]

    def same(self, keys: Keys, stamps: Keys) -> Bools:
        """Which of `keys` (n,) are here with the vector that had its stamp of `stamps` (n,)."""
        places = np.array([self.places.get(key, -1) for key in keys.tolist()], np.int64)
        unchanged: Bools = (places >= 0) & (exact.at(self.stamps, places) == stamps)
        return unchanged

    def without(self, keys: Keys) -> Self:
        """The same without `keys`."""
        return self.changed(keys, keys[:0], self.vectors[:0])

    def search(self, queries: Floats, k: int, allowed: Keys | None) -> tuple[Floats, Keys]:
        """The k best of each query: cosines and keys, among `allowed` (sorted) where given."""
        count = self.count
        if allowed is None:
            dead = count - self.living
            scores, rows = exact.nearest(queries, self.vectors[:count], k + dead, None)
            if dead:
                scores[~self.alive[rows]] = -np.inf
                scores, rows = exact.best(scores, rows, k)
        else:
            mask = members(self.keys[:count], allowed) & self.alive
            scores, rows = exact.nearest(queries, self.vectors[:count], k, mask)
        return scores, np.where(np.isneginf(scores), -1, exact.at(self.keys, rows))


def members(keys: Keys, allowed: Keys) -> Bools:
    """Which of `keys` are among the sorted keys `allowed`."""
    if not len(allowed):
        return np.zeros(len(keys), np.bool_)
    places = np.searchsorted(allowed, keys)
    found: Bools = allowed[np.minimum(places, len(allowed) - 1)] == keys
    return found
