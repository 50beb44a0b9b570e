"""From nearest neighbours to pairs: margins, filters, and one partner for each text at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from training.bitext.neighbours import Neighbours
from training.corpora.cleaning import length_ratio
from training.corpora.identification import are_close
from training.corpora.overlap import fingerprint
from training.corpora.scripts import profile
from training.evaluation.similarity import LEAST_MEAN, Flags, Mined, one_to_one


class PairReason(StrEnum):
    """Why a pair of neighbours was dropped, in the order in which it is asked."""

    UNTRANSLATED = "untranslated"  # the same letters and digits on both sides
    RATIO = "length ratio"
    NOT_BEST = "not the best"  # of either text's neighbours
    MARGIN = "margin"  # below the threshold
    TAKEN = "taken"  # one of the texts has a better partner


@dataclass(frozen=True, slots=True)
class Side:
    """What the filters need to know of the texts of one language."""

    language: str
    weights: Sequence[float]  # lengths, in characters of an alphabet
    marks: Sequence[bytes | None]  # fingerprints

    @classmethod
    def of(cls, language: str, texts: Sequence[str]) -> Side:
        """Measure the texts of one language."""
        weights = [profile(text).weight for text in texts]
        return cls(language, weights, [fingerprint(text) for text in texts])


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs, the best margin first, and how many neighbours were dropped for each reason."""

    mined: Mined
    neighbours: int  # pairs of neighbours that were looked at: the mined and all that were dropped
    dropped: dict[PairReason, int]


def pair(
    of_sources: Neighbours,
    of_targets: Neighbours,
    sources: Side,
    targets: Side,
    least_margin: float,
    most_ratio: float,
) -> Paired:
    """Pair two sides by ratio margin, the "max" strategy of Artetxe and Schwenk (2019).

    margin(x, y) = cos(x, y) / ((mean cosine of x with its neighbours + that of y with its) / 2). Of
    its neighbours that are no copies and whose lengths differ by no more than `most_ratio`, each
    text proposes the best; proposals of at least `least_margin` are taken from the best down while
    both texts are free.
    """
    candidates = _candidates(of_sources, of_targets)
    means = (of_sources.means[candidates.sources] + of_targets.means[candidates.targets]) / 2
    scale = np.maximum(means, np.float32(LEAST_MEAN))
    margins = (candidates.cosines / scale).astype(np.float32, copy=False)
    dropped: dict[PairReason, int] = {}
    left = np.ones(len(margins), np.bool_)

    def keep(flags: Flags, reason: PairReason) -> None:
        dropped[reason] = int((left & ~flags).sum())
        left[~flags] = False

    keep(~_copies(candidates, sources, targets), PairReason.UNTRANSLATED)
    keep(_ratios(candidates, sources, targets) <= most_ratio, PairReason.RATIO)
    best_of_sources = _best(candidates.sources, margins, left & candidates.of_source)
    best_of_targets = _best(candidates.targets, margins, left & candidates.of_target)
    keep(best_of_sources | best_of_targets, PairReason.NOT_BEST)
    keep(margins >= least_margin, PairReason.MARGIN)
    mined = one_to_one(candidates.sources[left], candidates.targets[left], margins[left])
    dropped[PairReason.TAKEN] = int(left.sum()) - len(mined.sources)
    return Paired(mined, len(margins), dropped)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Each pair of neighbours once, sorted by source, then target."""

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    cosines: NDArray[np.float32]
    of_source: Flags  # whether the target is among the source's nearest
    of_target: Flags  # and the source among the target's

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Places of source and target."""
        return zip(self.sources.tolist(), self.targets.tolist(), strict=True)


def _candidates(of_sources: Neighbours, of_targets: Neighbours) -> _Candidates:
    n, m = len(of_sources.places), len(of_targets.places)
    forward = np.repeat(np.arange(n), of_sources.places.shape[1]) * m + of_sources.places.ravel()
    backward = of_targets.places.ravel() * m + np.repeat(np.arange(m), of_targets.places.shape[1])
    keys, first = np.unique(np.concatenate([forward, backward]), return_index=True)
    cosines = np.concatenate([of_sources.cosines.ravel(), of_targets.cosines.ravel()])
    return _Candidates(
        keys // m, keys % m, cosines[first], np.isin(keys, forward), np.isin(keys, backward)
    )


def _copies(candidates: _Candidates, sources: Side, targets: Side) -> Flags:
    """Which candidates are the same letter for letter. In languages too close to be told apart that
    is a translation."""
    if are_close(sources.language, targets.language):
        return np.zeros(len(candidates.sources), np.bool_)
    same = (
        sources.marks[source] is not None and sources.marks[source] == targets.marks[target]
        for source, target in candidates.pairs()
    )
    return np.fromiter(same, np.bool_, len(candidates.sources))


def _ratios(candidates: _Candidates, sources: Side, targets: Side) -> NDArray[np.float64]:
    ratios = (
        length_ratio(sources.weights[source], targets.weights[target])
        for source, target in candidates.pairs()
    )
    return np.fromiter(ratios, np.float64, len(candidates.sources))


def _best(texts: NDArray[np.int64], margins: NDArray[np.float32], left: Flags) -> Flags:
    """Which candidates have the best margin of their text among those that are left; the first of
    several."""
    order = np.flatnonzero(left)
    order = order[np.lexsort((order, -margins[order], texts[order]))]
    _, first = np.unique(texts[order], return_index=True)
    result = np.zeros(len(texts), np.bool_)
    result[order[first]] = True
    return result
