"""How well a source text and a target text fit each other: cosine, and what is made of it.

A raw cosine is not comparable between texts: some lie close to everything (hubs). The margin of
Artetxe and Schwenk (2019, "Margin-based Parallel Corpus Mining with Multilingual Sentence
Embeddings") sets the cosine of a pair against the mean cosine of either text with its k nearest
neighbours on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Rows and columns of the cosines held at a time: 4 MB, which stay in a core's cache while both
# sides look for their best.
_TILE_ROWS = 1_024

# The ratio margin has no meaning over a mean cosine of zero or less; over this floor it stays
# finite and still rises with the cosine.
MEAN_COSINE_FLOOR = 1e-6


class Score(StrEnum):
    """What pairs are ranked by; more is better in each."""

    MARGIN_RATIO = "margin_ratio"
    MARGIN_DISTANCE = "margin_distance"
    COSINE = "cosine"
    CSLS = "csls"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest texts of the other side for each text, nearest first."""

    cosines: Floats  # (n, k)
    indices: Indices  # (n, k)

    @property
    def mean_cosine(self) -> Floats:
        """Mean cosine of each text with its neighbours: (n,)."""
        mean: Floats = self.cosines.mean(axis=1)
        return mean


def unit_rows(vectors: Floats) -> Floats:
    """Each row over its length, float32; a row of zeros stays as it is."""
    rows = np.ascontiguousarray(vectors, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)


def cosine_similarities(sources: Floats, targets: Floats) -> Floats:
    """Cosines of unit rows, (sources, targets), within -1 to 1; equal rows get equal cosines."""
    distinct_sources, source_places = _distinct(sources)
    distinct_targets, target_places = _distinct(targets)
    return _cosines(distinct_sources, distinct_targets)[np.ix_(source_places, target_places)]


def nearest_neighbours(sources: Floats, targets: Floats, k: int) -> tuple[Neighbours, Neighbours]:
    """The k nearest targets of each source, and the k nearest sources of each target.

    Exact. Rows are unit vectors, neither side is empty. k is clamped to the length of the list
    searched. Equal cosines rank by index, and equal rows have equal cosines. Memory does not grow
    with the product of the lengths: each cosine is computed once, in a tile, and serves both ways.
    """
    # Over distinct rows: a matrix product may round a row other than its equal twin, and then
    # rounding, not the index, would choose between them.
    distinct_sources, source_places = _distinct(sources)
    distinct_targets, target_places = _distinct(targets)
    forward = _Best(len(distinct_sources), min(k, len(distinct_targets)))
    backward = _Best(len(distinct_targets), min(k, len(distinct_sources)))
    for start in range(0, len(distinct_sources), _TILE_ROWS):
        rows = distinct_sources[start : start + _TILE_ROWS]
        for other in range(0, len(distinct_targets), _TILE_ROWS):
            tile = _cosines(rows, distinct_targets[other : other + _TILE_ROWS])
            forward.take(tile, start, other)
            backward.take(tile.T, other, start)
    return (
        _of_all(forward, source_places, target_places, k),
        _of_all(backward, target_places, source_places, k),
    )


class _Best:
    """The best columns of each row so far, best first, as tiles of a matrix come in.

    Tiles of one row must come in the order of their columns.
    """

    def __init__(self, rows: int, k: int) -> None:
        # Below any cosine: places that are still free.
        self.cosines = np.full((rows, k), -2, np.float32)
        self.columns = np.zeros((rows, k), np.int64)

    def take(self, tile: Floats, first_row: int, first_column: int) -> None:
        """Take the values of a tile in. Most rows of most tiles have none that is good enough."""
        last_row = first_row + len(tile)
        worst = self.cosines[first_row:last_row, -1]
        # Strictly above: of equals the earlier column stays.
        better = np.flatnonzero(tile.max(axis=1) > worst)
        if not len(better):
            return
        k = self.cosines.shape[1]
        values = np.ascontiguousarray(tile[better])
        found = _largest(values, k)
        rows = better + first_row
        cosines = np.concatenate(
            [self.cosines[rows], np.take_along_axis(values, found, axis=1)], axis=1
        )
        columns = np.concatenate([self.columns[rows], found + first_column], axis=1)
        kept = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        self.cosines[rows] = np.take_along_axis(cosines, kept, axis=1)
        self.columns[rows] = np.take_along_axis(columns, kept, axis=1)


def _of_all(best: _Best, places: Indices, other_places: Indices, k: int) -> Neighbours:
    """From distinct rows to all: every copy of a row is a neighbour, equals by index."""
    if len(other_places) == other_places.max() + 1:  # no copies
        return Neighbours(best.cosines[places], best.columns[places])
    order = np.argsort(other_places, kind="stable")
    first = np.searchsorted(other_places[order], np.arange(other_places.max() + 2))
    copies = np.minimum(np.diff(first), k)  # no more of one row can be anyone's nearest
    width = min(k, len(other_places))
    cosines = np.empty((len(best.cosines), width), np.float32)
    indices = np.empty((len(best.cosines), width), np.int64)
    counts = copies[best.columns]
    several = np.ones(len(counts), bool)
    if counts.shape[1] == width:
        several = counts.sum(axis=1) > width
        cosines[~several] = best.cosines[~several]
        indices[~several] = order[first[best.columns[~several]]]
    for row in np.flatnonzero(several):
        columns = best.columns[row]
        members = np.concatenate([order[first[c] : first[c] + copies[c]] for c in columns])
        values = np.repeat(best.cosines[row], copies[columns])
        kept = np.lexsort((members, -values))[:width]
        cosines[row], indices[row] = values[kept], members[kept]
    return Neighbours(cosines[places], indices[places])


def _cosines(sources: Floats, targets: Floats) -> Floats:
    cosines: Floats = sources @ targets.T
    return np.clip(cosines, np.float32(-1), np.float32(1), out=cosines)


def _distinct(vectors: Floats) -> tuple[Floats, Indices]:
    """The distinct rows of `vectors` in order of appearance, and each row's place among them."""
    places: dict[bytes, int] = {}
    firsts: list[int] = []
    of_row = np.empty(len(vectors), np.int64)
    for index, vector in enumerate(vectors):
        # A hash of the bytes: twins are found without a second copy of all rows.
        place = places.setdefault(blake2b(vector.tobytes(), digest_size=16).digest(), len(places))
        if place == len(firsts):
            firsts.append(index)
        of_row[index] = place
    return (vectors if len(firsts) == len(vectors) else vectors[firsts]), of_row


def _largest(values: Floats, k: int) -> Indices:
    """Columns of the k largest values in each row, largest first, the lower index among equals."""
    count = values.shape[1]
    if k >= count:
        return np.argsort(-values, axis=1, kind="stable")
    columns = np.argpartition(values, count - k, axis=1)[:, count - k :]
    smallest_kept = np.take_along_axis(values, columns, axis=1).min(axis=1, keepdims=True)
    # Which of equals a partition keeps is chance; most rows have none at the edge.
    tied = np.flatnonzero(np.count_nonzero(values >= smallest_kept, axis=1) > k)
    if len(tied):
        columns[tied] = _first_of_equals(values[tied], smallest_kept[tied], k)
    columns.sort(axis=1)
    order = np.argsort(-np.take_along_axis(values, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _first_of_equals(values: Floats, smallest_kept: Floats, k: int) -> Indices:
    """Columns of the k largest values in each row, in order, the lower index among equals."""
    above = values > smallest_kept
    tied = values == smallest_kept
    places_left = k - above.sum(axis=1, keepdims=True)
    kept = above | (tied & (tied.cumsum(axis=1) <= places_left))
    return np.nonzero(kept)[1].reshape(len(values), k)


def _ratio(cosines: Floats, mean_cosines: Floats) -> Floats:
    return (cosines / np.maximum(mean_cosines, MEAN_COSINE_FLOOR)).astype(np.float32, copy=False)


def _distance(cosines: Floats, mean_cosines: Floats) -> Floats:
    return cosines - mean_cosines


def _cosine(cosines: Floats, mean_cosines: Floats) -> Floats:
    return cosines


def _csls(cosines: Floats, mean_cosines: Floats) -> Floats:
    return (cosines - mean_cosines) * np.float32(2)


_SCORES: dict[Score, Callable[[Floats, Floats], Floats]] = {
    Score.MARGIN_RATIO: _ratio,
    Score.MARGIN_DISTANCE: _distance,
    Score.COSINE: _cosine,
    Score.CSLS: _csls,
}


def score_pairs(score: Score, cosines: Floats, one_mean: Floats, other_mean: Floats) -> Floats:
    """Scores of pairs from their cosines and the mean cosine of either text's neighbours.

    With a(x, y) the mean of the two means: ratio cos / a (Artetxe and Schwenk's choice, a floored
    at MEAN_COSINE_FLOOR), distance cos - a, CSLS 2 cos - 2 a (Conneau et al., 2018, "Word
    Translation Without Parallel Data"). Always finite.
    """
    return _SCORES[score](cosines, (one_mean + other_mean) * np.float32(0.5))
