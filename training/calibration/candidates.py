"""Candidates with known answers: the best partner of each text in a list where half of the texts
have a translation, scored as /align scores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.bitext.neighbours import Neighbours, nearest
from training.evaluation.similarity import LEAST_MEAN, NEIGHBOURS, Indices, Vectors

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Of three pairs, one gives both its texts to the lists, one its first and one its second: so half
# of the texts of either list have their translation in the other.
_ROLES = 3
PRIOR = 0.5


def _cosine(cosines: Floats, own: Floats, other: Floats) -> Floats:
    return cosines


def _margin_ratio(cosines: Floats, own: Floats, other: Floats) -> Floats:
    return cosines / np.maximum((own + other) / 2, LEAST_MEAN)


def _margin_distance(cosines: Floats, own: Floats, other: Floats) -> Floats:
    return cosines - (own + other) / 2


def _csls(cosines: Floats, own: Floats, other: Floats) -> Floats:
    return 2 * cosines - own - other


# From the cosine of a pair and the mean cosines of either text with its neighbours. The first three
# are those of the service (Artetxe and Schwenk, 2019); CSLS is that of Conneau et al. (2018).
SCORES: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "cosine": _cosine,
    "margin_ratio": _margin_ratio,
    "margin_distance": _margin_distance,
    "csls": _csls,
}


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates of one language pair and score; each (n,)."""

    scores: Floats
    right: Flags
    # Which pair the text belongs to that has this candidate: what is measured on must be of other
    # pairs than what is fitted.
    pair: Indices

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: Flags) -> Candidates:
        """Some of them."""
        return Candidates(self.scores[chosen], self.right[chosen], self.pair[chosen])


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one language pair gives to one score."""

    # The best partner of each text.
    best: Candidates
    # A partner drawn at random for each text, all wrong.
    random: Candidates


def candidates(ones: Vectors, others: Vectors, seed: int = 0) -> dict[str, Drawn]:
    """By score, the candidates of pairs (n, dim), (n, dim) that are translations row by row.

    The pairs are parted by three, and three times made into two lists, so that each has every role
    once. A text's candidate is the best-scoring of its `NEIGHBOURS` nearest; it is right where it
    is its translation.
    """
    rng = np.random.default_rng(seed)
    roles = np.arange(len(ones)) % _ROLES
    found: dict[str, list[tuple[Candidates, Candidates]]] = {name: [] for name in SCORES}
    for turn in range(_ROLES):
        in_ones = np.flatnonzero(roles != turn)
        in_others = np.flatnonzero(roles != (turn + 1) % _ROLES)
        if min(len(in_ones), len(in_others)) < 2:
            continue
        forward, backward = nearest(ones[in_ones], others[in_others], NEIGHBOURS)
        lists = _Lists(in_ones, in_others, ones[in_ones], others[in_others])
        for name in SCORES:
            found[name].append(_of(lists, forward, backward, name, rng))
            found[name].append(_of(lists.swapped, backward, forward, name, rng))
    return {
        name: Drawn(_joined([one for one, _ in parts]), _joined([other for _, other in parts]))
        for name, parts in found.items()
    }


@dataclass(frozen=True, slots=True)
class _Lists:
    """Two lists of texts by the pair that each belongs to, and their vectors."""

    own: Indices
    other: Indices
    own_vectors: Vectors
    other_vectors: Vectors

    @property
    def swapped(self) -> _Lists:
        return _Lists(self.other, self.own, self.other_vectors, self.own_vectors)


def _of(
    lists: _Lists, own: Neighbours, other: Neighbours, name: str, rng: np.random.Generator
) -> tuple[Candidates, Candidates]:
    means, other_means = own.means.astype(np.float64), other.means.astype(np.float64)
    score = SCORES[name]
    scores = score(own.cosines.astype(np.float64), means[:, None], other_means[own.places])
    rows = np.arange(len(scores))
    best = scores.argmax(axis=1)
    partners = own.places[rows, best]
    right = lists.own == lists.other[partners]
    drawn = rng.integers(len(lists.other), size=len(rows))
    wrong = lists.own != lists.other[drawn]
    cosines = np.einsum("nd,nd->n", lists.own_vectors, lists.other_vectors[drawn])
    random = score(cosines.astype(np.float64), means, other_means[drawn])
    return (
        Candidates(scores[rows, best], right, lists.own),
        Candidates(random[wrong], np.zeros(int(wrong.sum()), np.bool_), lists.own[wrong]),
    )


def _joined(parts: list[Candidates]) -> Candidates:
    if not parts:
        return Candidates(np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64))
    return Candidates(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.pair for part in parts]),
    )
