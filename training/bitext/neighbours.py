"""The nearest neighbours of two sides, both ways, in one pass over tiles of their cosines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.similarity import Indices, Vectors

# Texts on a side of a tile: 16 MiB of cosines.
TILE = 2048

Cosines = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest texts of the other side, the nearest first: each (n, k)."""

    places: Indices
    cosines: Cosines

    @property
    def means(self) -> Cosines:
        """The mean cosine of each text with its neighbours: (n,)."""
        result: Cosines = self.cosines.mean(axis=1, dtype=np.float32)
        return result


def nearest(
    sources: Vectors, targets: Vectors, k: int, tile: int = TILE
) -> tuple[Neighbours, Neighbours]:
    """For each text of either side its `k` nearest of the other, or all where they are fewer:
    (n, dim), (m, dim) → the sources' and the targets'.

    Exact; every cosine is computed once. Beside the vectors and the result, one tile of cosines is
    held. Raises ValueError where a side is empty.
    """
    if not len(sources) or not len(targets):
        raise ValueError(f"{len(sources)} sources and {len(targets)} targets; both sides need some")
    of_sources = _Best(len(sources), min(k, len(targets)))
    of_targets = _Best(len(targets), min(k, len(sources)))
    for rows in _blocks(len(sources), tile):
        for columns in _blocks(len(targets), tile):
            cosines = sources[rows] @ targets[columns].T
            of_sources.take(rows, columns.start, cosines)
            of_targets.take(columns, rows.start, cosines.T)
    return of_sources.sorted(), of_targets.sorted()


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class _Best:
    """The best that each text has seen so far."""

    def __init__(self, texts: int, k: int) -> None:
        self._cosines = np.full((texts, k), -np.inf, np.float32)
        self._places = np.full((texts, k), -1, np.int64)

    def take(self, own: slice, first: int, cosines: Cosines) -> None:
        """See `cosines` of the texts `own` with those from `first` on: (own, seen)."""
        k = self._cosines.shape[1]
        # Of a tile no more than k can stay: found first, so that little is merged.
        last = max(0, cosines.shape[1] - k)
        inner = np.argpartition(cosines, last, axis=1)[:, last:]
        values = np.take_along_axis(cosines, inner, axis=1)
        all_values = np.concatenate([self._cosines[own], values], axis=1)
        all_places = np.concatenate([self._places[own], inner + first], axis=1)
        kept = np.argpartition(all_values, all_values.shape[1] - k, axis=1)[:, -k:]
        self._cosines[own] = np.take_along_axis(all_values, kept, axis=1)
        self._places[own] = np.take_along_axis(all_places, kept, axis=1)

    def sorted(self) -> Neighbours:
        """The best first; of equal cosines the first text."""
        order = np.lexsort((self._places, -self._cosines), axis=1)
        return Neighbours(
            np.take_along_axis(self._places, order, axis=1),
            np.take_along_axis(self._cosines, order, axis=1),
        )
