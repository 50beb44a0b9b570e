"""From neighbours to pairs: each text at most once, the best scores first, in arrays alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.alignment.scoring import Floats, Indices, Neighbours, Score, score_pairs


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of texts by index, the best score first: each (n,)."""

    sources: Indices
    targets: Indices
    scores: Floats
    cosines: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.generic] | slice) -> Pairs:
        """Some of them: by index, mask or slice."""
        return Pairs(
            self.sources[chosen], self.targets[chosen], self.scores[chosen], self.cosines[chosen]
        )


def pair_up(neighbours: tuple[Neighbours, Neighbours] | None, score: Score) -> Pairs:
    """One-to-one pairs by the "max" strategy of Artetxe and Schwenk (2019), as /align makes them.

    Each text proposes its best-scoring neighbour, or all that tie for it; proposals are taken from
    the best down while both texts are free. Equal scores go by source, then target. `neighbours`
    are those of the sources and those of the targets; None where a side has no text.
    """
    if neighbours is None:
        no_text, no_score = np.empty(0, np.int64), np.empty(0, np.float32)
        return Pairs(no_text, no_text, no_score, no_score)
    forward, backward = neighbours
    ahead, behind = forward.mean_cosine, backward.mean_cosine
    there = _proposals(forward, score, ahead, behind)
    back = _proposals(backward, score, behind, ahead)
    both = Pairs(
        np.concatenate([there.sources, back.targets]),
        np.concatenate([there.targets, back.sources]),
        np.concatenate([there.scores, back.scores]),
        np.concatenate([there.cosines, back.cosines]),
    )
    ranked = both.take(np.lexsort((both.targets, both.sources, -both.scores)))
    return ranked.take(_greedy(ranked, len(ahead), len(behind)))


def _proposals(neighbours: Neighbours, score: Score, own: Floats, other: Floats) -> Pairs:
    scores = score_pairs(score, neighbours.cosines, own[:, None], other[neighbours.indices])
    rows, places = np.nonzero(scores == scores.max(axis=1, keepdims=True))
    return Pairs(
        rows,
        neighbours.indices[rows, places],
        scores[rows, places],
        neighbours.cosines[rows, places],
    )


def _greedy(ranked: Pairs, sources: int, targets: int) -> Indices:
    """Places in `ranked` that a loop from the best down would take, without the loop.

    A proposal that is the first of those left for both its texts is what the loop would take of
    either; taking all such at once, and what they rule out away, leaves the same question smaller.
    """
    left = np.arange(len(ranked))
    taken: list[Indices] = []
    while len(left):
        one, other = ranked.sources[left], ranked.targets[left]
        first = _first(one, sources) & _first(other, targets)
        taken.append(left[first])
        gone_sources, gone_targets = np.zeros(sources, np.bool_), np.zeros(targets, np.bool_)
        gone_sources[one[first]], gone_targets[other[first]] = True, True
        left = left[~(gone_sources[one] | gone_targets[other])]
    return np.sort(np.concatenate(taken)) if taken else left


def _first(texts: Indices, count: int) -> NDArray[np.bool_]:
    """Whether each entry is the first one of its text."""
    places = np.full(count, len(texts), np.int64)
    np.minimum.at(places, texts, np.arange(len(texts)))
    first: NDArray[np.bool_] = places[texts] == np.arange(len(texts))
    return first
