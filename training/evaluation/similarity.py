"""Exact search by cosine over unit rows, in tiles of float32: O(n·m) time, bounded memory.

A tie always counts against the text that ought to win, so that no score is won by order and none
depends on it. An identical text elsewhere in the pool is such a tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (n, dim), unit rows
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Cosines held at a time: 16 MiB of float32.
_TILE_CELLS = 1 << 22
# Below this a mean of cosines is no denominator.
LEAST_MEAN = 1e-6
NEIGHBOURS = 4


def tiles(queries: Vectors, targets: Vectors) -> Iterator[tuple[slice, Vectors]]:
    """Cosines of some queries with all targets at a time: (rows, targets)."""
    rows = max(1, _TILE_CELLS // max(1, len(targets)))
    for start in range(0, len(queries), rows):
        block = slice(start, min(start + rows, len(queries)))
        yield block, queries[block] @ targets.T


def ranks(queries: Vectors, targets: Vectors, gold: Indices) -> Indices:
    """The rank, from 1, of each query's gold target by cosine: (n, dim), (m, dim), (n,) → (n,)."""
    result = np.empty(len(queries), dtype=np.int64)
    for block, cosines in tiles(queries, targets):
        own = cosines[np.arange(len(cosines)), gold[block]]
        result[block] = (cosines >= own[:, None]).sum(axis=1)
    return result


def neighbour_means(queries: Vectors, targets: Vectors, k: int = NEIGHBOURS) -> NDArray[np.float32]:
    """The mean cosine of each query with its `k` nearest targets, or with all where they are fewer:
    (n,)."""
    result = np.empty(len(queries), dtype=np.float32)
    first = max(0, len(targets) - k)
    for block, cosines in tiles(queries, targets):
        result[block] = np.partition(cosines, first, axis=1)[:, first:].mean(axis=1)
    return result


def _margin_tiles(queries: Vectors, targets: Vectors, k: int) -> Iterator[tuple[slice, Vectors]]:
    """Ratio margins (Artetxe and Schwenk, 2019) of each query with its `k` nearest targets, all
    that tie for the last place included; −inf for the others."""
    own = neighbour_means(queries, targets, k) / 2
    other = neighbour_means(targets, queries, k) / 2
    last = max(0, len(targets) - k)
    for block, cosines in tiles(queries, targets):
        near = cosines >= np.partition(cosines, last, axis=1)[:, [last]]
        scale = np.maximum(own[block, None] + other, np.float32(LEAST_MEAN))
        yield block, np.where(near, cosines / scale, np.float32(-np.inf))


def margin_hits(queries: Vectors, targets: Vectors, gold: Indices, k: int = NEIGHBOURS) -> Flags:
    """Whether each query's gold target has the best margin among its `k` nearest: (n,).

    The margin is cos(x, y) over the mean of two means: the cosines of x with its `k` nearest
    targets, and those of y with its `k` nearest queries.
    """
    result = np.empty(len(queries), dtype=np.bool_)
    for block, margins in _margin_tiles(queries, targets, k):
        rows = np.arange(len(margins))
        own = margins[rows, gold[block]]
        margins[rows, gold[block]] = -np.inf
        result[block] = own > margins.max(axis=1)
    return result


@dataclass(frozen=True, slots=True)
class Mined:
    """Pairs that mining proposes, the best margin first; no text stands in two of them."""

    sources: Indices
    targets: Indices
    margins: NDArray[np.float32]


def mine(sources: Vectors, targets: Vectors, k: int = NEIGHBOURS) -> Mined:
    """Pair two unordered lists by ratio margin: the "max" strategy of Artetxe and Schwenk (2019).

    Each text of either side proposes its best among its `k` nearest; proposals are taken from the
    best down while both texts are free.
    """
    proposed: list[tuple[float, int, int]] = []
    for block, margins in _margin_tiles(sources, targets, k):
        best = margins.argmax(axis=1)
        for row, target in enumerate(best):
            proposed.append((float(margins[row, target]), block.start + row, int(target)))
    for block, margins in _margin_tiles(targets, sources, k):
        best = margins.argmax(axis=1)
        for row, source in enumerate(best):
            proposed.append((float(margins[row, source]), int(source), block.start + row))
    pairs = np.array([each[1:] for each in proposed], dtype=np.int64).reshape(-1, 2)
    scores = np.array([each[0] for each in proposed], dtype=np.float32)
    return one_to_one(pairs[:, 0], pairs[:, 1], scores)


def one_to_one(sources: Indices, targets: Indices, margins: NDArray[np.float32]) -> Mined:
    """Take proposals from the best margin down while both texts are free: each (n,). Of equal
    margins the first source goes first, then the first target."""
    taken = []
    free_sources, free_targets = set(sources.tolist()), set(targets.tolist())
    for place in np.lexsort((targets, sources, -margins)).tolist():
        source, target = int(sources[place]), int(targets[place])
        if source in free_sources and target in free_targets:
            free_sources.remove(source)
            free_targets.remove(target)
            taken.append(place)
    return Mined(sources[taken], targets[taken], margins[taken])


def is_strictly_best(one: Vectors, other: Vectors) -> Flags:
    """Whether cos(one[i], other[i]) is above every other entry of its row and its column: (n,)."""
    result = np.ones(len(one), dtype=np.bool_)
    for rows, columns in ((one, other), (other, one)):
        for block, cosines in tiles(rows, columns):
            place = np.arange(len(cosines))
            diagonal = block.start + place
            own = cosines[place, diagonal]
            cosines[place, diagonal] = -np.inf
            result[block] &= own > cosines.max(axis=1)
    return result
