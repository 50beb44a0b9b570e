"""From a structure's candidates to exact hits: re-ranked, enough of them, only those allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from service.retrieval.index import exact
from service.retrieval.index.design import Effort, Efforts
from service.retrieval.index.gpu import Mirror
from service.retrieval.index.kept import Kept
from service.retrieval.index.structure import Bits, Structure
from service.retrieval.index.values import RECALL_AT, Bools, Fetch, Floats, Keys

# Up to so many allowed vectors are all compared: sooner than a search that skips most of what it
# meets, and it misses none.
COMPARED_ROWS = 10_000
_FETCHED_ROWS = 4096
# Up to so many candidates of product codes for each hit are scored by their vectors at once,
# wherever these lie: codes of eight bits in between would take longer. Of more, those codes spare
# reading most, unless there is memory for all vectors.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Main:
    """A structure, how hard it is searched, its vectors, and which of them are not removed."""

    structure: Structure
    efforts: Efforts
    kept: Kept
    alive: Bools  # (n,) by position
    living: int
    bits: Bits | None  # `alive` packed, None where all are
    mirror: Mirror | None  # the same vectors on a GPU
    at_hand: bool  # there is memory for all in `kept`, so that a search may read many

    @classmethod
    def of(
        cls,
        structure: Structure,
        efforts: Efforts,
        kept: Kept,
        alive: Bools | None = None,
        mirror: Mirror | None = None,
        *,
        at_hand: bool = False,
    ) -> Self:
        """All alive, or those that `alive` tells."""
        if alive is None:
            alive = np.ones(len(structure), np.bool_)
        living = int(np.count_nonzero(alive))
        bits = None if living == len(alive) else np.packbits(alive, bitorder="little")
        return cls(structure, efforts, kept, alive, living, bits, mirror, at_hand)

    def without(self, keys: Keys) -> Self:
        """The same without `keys`, which need not be here."""
        positions = self.structure.positions_of(keys)
        if not self.alive[positions].any():
            return self
        alive = self.alive.copy()
        alive[positions] = False
        return self.of(
            self.structure, self.efforts, self.kept, alive, self.mirror, at_hand=self.at_hand
        )

    def search(
        self, queries: Floats, k: int, allowed: Keys | None, fetch: Fetch
    ) -> tuple[Floats, Keys]:
        """Cosines and keys of the k best of each query, among the keys `allowed` where given."""
        if self.mirror is not None and allowed is None:
            found = self._mirrored(self.mirror, queries, k, fetch)
            if found is not None:
                return found
        bits, findable = self.bits, self.living
        effort, most = self.efforts.plain, self.structure.most_reach
        if allowed is not None:
            positions = self.structure.positions_of(allowed)
            positions = positions[self.alive[positions]]
            findable = len(positions)
            if findable <= COMPARED_ROWS:
                return self._compared(queries, positions, k, fetch)
            among = np.zeros(len(self.alive), np.bool_)
            among[positions] = True
            bits = np.packbits(among, bitorder="little")
            effort = self.efforts.filtered.for_share(findable / len(self.alive), most)
        effort = effort.for_count(k, most)
        return self._found(queries, k, effort, bits, findable, fetch)

    def _mirrored(
        self, mirror: Mirror, queries: Floats, k: int, fetch: Fetch
    ) -> tuple[Floats, Keys] | None:
        """The k best that the GPU finds; None where it cannot tell for sure.

        It knows no filters: as many more are asked for as may be removed or are newer than this.
        """
        size = len(self.alive)
        found = mirror.search(queries, surplus(k) + size - self.living)
        if found is None:
            return None
        positions = found[1]
        here = (positions >= 0) & (positions < size)
        here &= self.alive[np.where(here, positions, 0)]
        if (here.sum(axis=1) < min(k, self.living)).any():
            return None
        return self._rescored(queries, np.where(here, positions, -1), k, fetch)

    def _found(
        self,
        queries: Floats,
        k: int,
        effort: Effort,
        bits: Bits | None,
        findable: int,
        fetch: Fetch,
    ) -> tuple[Floats, Keys]:
        """The k best, searched on with more effort where fewer candidates than there are came."""
        if self.structure.design.kind == "ivf" and effort.width <= _AT_ONCE:
            positions = self.structure.listed(queries, max(k, RECALL_AT), effort, bits)
        elif self.structure.design.kind == "ivf" and self.at_hand:
            # No fewer candidates than below: an index that was audited there may be opened here.
            positions = self.structure.listed(queries, surplus(max(k, RECALL_AT)), effort, bits)
        else:
            positions = self.structure.candidates(queries, surplus(k), effort, bits)
        short = np.flatnonzero((positions >= 0).sum(axis=1) < min(k, findable))
        scores, keys = self._rescored(queries, positions, k, fetch)
        if len(short):
            if effort.reach < self.structure.most_reach:
                more = replace(effort, reach=min(8 * effort.reach, self.structure.most_reach))
                again = self._found(queries[short], k, more, bits, findable, fetch)
            else:
                able = self.alive if bits is None else _unpacked(bits, len(self.alive))
                again = self._compared(queries[short], np.flatnonzero(able), k, fetch)
            scores[short], keys[short] = again
        return scores, keys

    def _compared(
        self, queries: Floats, positions: Keys, k: int, fetch: Fetch
    ) -> tuple[Floats, Keys]:
        """The k best of `positions`, every one compared."""
        keys = self.structure.keys
        if not len(positions):
            return exact.empty(len(queries), k)
        if len(positions) > surplus(k):
            found = self.structure.among(queries, positions, surplus(k))
            if found is not None:
                return self._rescored(queries, found[1], k, fetch)
        hits = exact.empty(len(queries), k)
        for start in range(0, len(positions), _FETCHED_ROWS):
            some = keys[positions[start : start + _FETCHED_ROWS]]
            vectors = np.ascontiguousarray(fetch(some), np.float32)
            there = ~np.isnan(vectors[:, 0])
            scores, places = exact.nearest(queries, vectors[there], k, None)
            hits = exact.merged(hits, (scores, exact.at(some[there], places)), k)
        return hits

    def _rescored(
        self, queries: Floats, positions: Keys, k: int, fetch: Fetch
    ) -> tuple[Floats, Keys]:
        """The k best of each query's `positions` (queries, m) by their vectors themselves."""
        keys = self.structure.keys
        scores = self.kept.scores(queries, positions, lambda some: fetch(keys[some]))
        scores, positions = exact.best(scores, positions, k)
        return scores, exact.at(keys, np.where(np.isneginf(scores), -1, positions))


def surplus(k: int) -> int:
    """Candidates that are scored exactly for k hits: codes may misplace the last few."""
    return k + max(6, k // 2)


def _unpacked(bits: Bits, count: int) -> Bools:
    able: Bools = np.unpackbits(bits, count=count, bitorder="little").view(np.bool_)
    return able
