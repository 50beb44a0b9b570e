"""Figures of merit over ranks, gold scores and mined pairs; all in percent, 0 to 100."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.evaluation.similarity import Flags, Indices


def hits_at(ranks: Indices, k: int) -> float:
    """The share of queries whose gold target is among the first `k`."""
    return 100 * float((ranks <= k).mean())


def mean_reciprocal_rank(ranks: Indices) -> float:
    """The mean of 1 / rank. With one relevant target per query it is the mean average precision."""
    return 100 * float((1 / ranks).mean())


def ndcg_at(ranks: Indices, k: int) -> float:
    """Normalised discounted cumulative gain of the first `k`, with one relevant target per query:
    the mean of 1 / log2(1 + rank) (Järvelin and Kekäläinen, 2002)."""
    return 100 * float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0).mean())


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation × 100, equal values sharing the mean of their ranks.

    A constant side correlates with nothing: 0.
    """
    x, y = (_mean_ranks(np.asarray(side)) for side in (one, other))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return 100 * float(x @ y / scale) if scale > 0 else 0.0


def _mean_ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return ranks


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Precision, recall and their harmonic mean."""

    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, correct: int, proposed: int, gold: int) -> Retrieved:
        """From counts; what has an empty denominator is 0."""
        precision = 100 * correct / proposed if proposed else 0.0
        recall = 100 * correct / gold if gold else 0.0
        return cls(precision, recall, 200 * correct / (proposed + gold) if correct else 0.0)


def best_threshold(scores: NDArray[np.float32], correct: Flags, gold: int) -> float:
    """The score from which on to accept pairs, so that F1 is highest: half-way between the last
    accepted and the first refused, −inf where all are accepted, +inf where no pair is correct.

    `scores` fall; `gold` counts the pairs to be found. Of equal F1, the highest threshold.
    """
    if not correct.any():
        return float("inf")
    accepted = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(correct) / (accepted + gold)
    # Pairs of equal score are accepted or refused together.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    last = int(f1.argmax())
    if last + 1 == len(scores):
        return float("-inf")
    return (float(scores[last]) + float(scores[last + 1])) / 2
