"""How well a source text and a target text fit each other: cosine, and margins over it.

A raw cosine is not comparable between texts: some lie close to everything (hubs). The margin of
Artetxe and Schwenk (2019, "Margin-based Parallel Corpus Mining with Multilingual Sentence
Embeddings") sets the cosine of a pair against the mean cosine of either text with its k nearest
neighbours on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Cosines held at a time; bounds memory at a few hundred MB however long the lists are.
_BLOCK_CELLS = 1 << 24

# The ratio margin has no meaning over a mean cosine of zero or less; over this floor it stays
# finite and still rises with the cosine.
MEAN_COSINE_FLOOR = 1e-6


class Score(StrEnum):
    """What pairs are ranked by; more is better in each."""

    MARGIN_RATIO = "margin_ratio"
    MARGIN_DISTANCE = "margin_distance"
    COSINE = "cosine"


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


def cosine_similarities(sources: Floats, targets: Floats) -> Floats:
    """Cosines of unit rows, (sources, targets), within -1 to 1; equal rows get equal cosines."""
    distinct_sources, source_places = _distinct(sources)
    distinct_targets, target_places = _distinct(targets)
    return _cosines(distinct_sources, distinct_targets)[np.ix_(source_places, target_places)]


def nearest_neighbours(sources: Floats, targets: Floats, k: int) -> tuple[Neighbours, Neighbours]:
    """The k nearest targets of each source, and the k nearest sources of each target.

    Rows are unit vectors, neither side is empty. k is clamped to the length of the list searched.
    Equal cosines rank by index, and equal rows have equal cosines. Memory does not grow with the
    product of the lengths.
    """
    # Over distinct rows: a matrix product may round a row other than its equal twin, and then
    # rounding, not the index, would choose between them.
    distinct_sources, source_places = _distinct(sources)
    distinct_targets, target_places = _distinct(targets)
    # Equals rank by index, so no more than the first k of equal sources can be anyone's nearest.
    able = np.flatnonzero(_copy_numbers(source_places) < k)
    cosines_found, indices_found = [], []
    backward = Neighbours(
        np.empty((len(targets), 0), np.float32), np.empty((len(targets), 0), np.int64)
    )
    for start, end in _blocks(len(distinct_sources), len(targets)):
        cosines = _cosines(distinct_sources[start:end], distinct_targets)[:, target_places]
        nearest = _largest(cosines, k)
        indices_found.append(nearest)
        cosines_found.append(np.take_along_axis(cosines, nearest, axis=1))
        members = able[(source_places[able] >= start) & (source_places[able] < end)]
        backward = _merge(backward, cosines[source_places[members] - start].T, members, k)
    forward = Neighbours(
        np.concatenate(cosines_found)[source_places], np.concatenate(indices_found)[source_places]
    )
    return forward, backward


def _merge(best: Neighbours, cosines: Floats, members: Indices, k: int) -> Neighbours:
    """`best` with the sources `members` taken in, whose cosines are (targets, members)."""
    found = _largest(cosines, k)
    both = np.concatenate([best.cosines, np.take_along_axis(cosines, found, axis=1)], axis=1)
    indices = np.concatenate([best.indices, members[found]], axis=1)
    by_index = np.argsort(indices, axis=1)  # lower indices first, as `_largest` wants equals
    both = np.take_along_axis(both, by_index, axis=1)
    indices = np.take_along_axis(indices, by_index, axis=1)
    kept = _largest(both, k)
    return Neighbours(
        np.take_along_axis(both, kept, axis=1), np.take_along_axis(indices, kept, axis=1)
    )


def _cosines(sources: Floats, targets: Floats) -> Floats:
    cosines: Floats = np.clip(sources @ targets.T, np.float32(-1), np.float32(1))
    return cosines


def _blocks(sources: int, targets: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK_CELLS // targets)
    for start in range(0, sources, step):
        yield start, min(start + step, sources)


def _distinct(vectors: Floats) -> tuple[Floats, Indices]:
    """The distinct rows of `vectors` in order of appearance, and each row's place among them."""
    places: dict[bytes, int] = {}
    firsts: list[int] = []
    of_row = np.empty(len(vectors), np.int64)
    for index, vector in enumerate(vectors):
        place = places.setdefault(vector.tobytes(), len(places))
        if place == len(firsts):
            firsts.append(index)
        of_row[index] = place
    return vectors[firsts], of_row


def _copy_numbers(places: Indices) -> Indices:
    """For each row how many equal rows stand before it."""
    order = np.argsort(places, kind="stable")
    _, first, counts = np.unique(places[order], return_index=True, return_counts=True)
    numbers = np.empty_like(places)
    numbers[order] = np.arange(len(places)) - np.repeat(first, counts)
    return numbers


def _largest(values: Floats, k: int) -> Indices:
    """Columns of the k largest values in each row, largest first, the lower index among equals."""
    count = values.shape[1]
    if k >= count:
        return np.argsort(-values, axis=1, kind="stable")
    smallest_kept = np.partition(values, count - k, axis=1)[:, count - k, None]
    above = values > smallest_kept
    tied = values == smallest_kept
    places_left = k - above.sum(axis=1, keepdims=True)
    kept = above | (tied & (tied.cumsum(axis=1) <= places_left))
    columns = np.nonzero(kept)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(values, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _ratio(cosines: Floats, mean_cosines: Floats) -> Floats:
    return (cosines / np.maximum(mean_cosines, MEAN_COSINE_FLOOR)).astype(np.float32, copy=False)


def _distance(cosines: Floats, mean_cosines: Floats) -> Floats:
    return cosines - mean_cosines


def _cosine(cosines: Floats, mean_cosines: Floats) -> Floats:
    return cosines


_SCORES: dict[Score, Callable[[Floats, Floats], Floats]] = {
    Score.MARGIN_RATIO: _ratio,
    Score.MARGIN_DISTANCE: _distance,
    Score.COSINE: _cosine,
}


def score_pairs(score: Score, cosines: Floats, one_mean: Floats, other_mean: Floats) -> Floats:
    """Scores of pairs from their cosines and the mean cosine of either text's neighbours.

    With a(x, y) the mean of the two means: ratio cos / a (Artetxe and Schwenk's choice, a floored
    at MEAN_COSINE_FLOOR), distance cos - a. Always finite.
    """
    return _SCORES[score](cosines, (one_mean + other_mean) * np.float32(0.5))
