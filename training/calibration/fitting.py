"""Monotone maps from a score to log-odds: three families, and how a language pair departs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.calibration.candidates import Candidates, Floats

# Candidates of one bin of the isotonic fit at least, and bins at most: what a curve can tell apart.
_BIN_CANDIDATES = 100
_BINS = 40
_NEWTON_STEPS = 30
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Points:
    """A curve: log-odds that do not fall at scores that rise, linear between, level beyond."""

    scores: Floats
    log_odds: Floats

    def at(self, scores: Floats) -> Floats:
        """Log-odds of scores: (n,)."""
        return np.interp(scores, self.scores, self.log_odds)


@dataclass(frozen=True, slots=True)
class Departure:
    """Log-odds of one language pair: offset + slope × those of the curve."""

    offset: float = 0.0
    slope: float = 1.0

    def of(self, log_odds: Floats) -> Floats:
        """The pair's log-odds: (n,)."""
        return self.offset + self.slope * log_odds


def logistic(scores: Floats, right: NDArray[np.bool_]) -> Points:
    """Platt (1999): log-odds that are linear in the score."""
    scaled, low, span = _scaled(scores)
    return _curve_of([scaled], right, low, span)


def beta(scores: Floats, right: NDArray[np.bool_]) -> Points:
    """Kull, Silva Filho and Flach (2017): linear in ln x and −ln(1 − x), x the scaled score."""
    scaled, low, span = _scaled(scores)
    return _curve_of([np.log(scaled), -np.log1p(-scaled)], right, low, span)


def isotonic(scores: Floats, right: NDArray[np.bool_]) -> Points:
    """Zadrozny and Elkan (2002): of bins of equal counts the share that is right, smoothed by half
    a candidate of either kind (Jeffreys), pooled where it would fall."""
    order = np.argsort(scores, kind="stable")
    bins = int(np.clip(len(scores) // _BIN_CANDIDATES, 2, _BINS))
    parts = np.array_split(order, bins)
    places = np.array([scores[part].mean() for part in parts])
    counts = np.array([len(part) for part in parts], np.float64)
    hits = np.array([right[part].sum() for part in parts], np.float64)
    shares = _pooled((hits + 0.5) / (counts + 1), counts)
    places, first = np.unique(places, return_index=True)
    if len(places) < 2:
        # One score for all: nothing can be told apart.
        share = float(np.average(shares, weights=counts))
        return Points(places[0] + np.array([0.0, 1e-6]), np.full(2, np.log(share / (1 - share))))
    shares = shares[first]
    return Points(places, np.log(shares / (1 - shares)))


Family = Callable[[Floats, NDArray[np.bool_]], Points]
FAMILIES: Mapping[str, Family] = {"logistic": logistic, "beta": beta, "isotonic": isotonic}


def _scaled(scores: Floats) -> tuple[Floats, float, float]:
    """Scores within 0 to 1, with a little room at both ends, where they begin, and their span."""
    low, high = float(scores.min()), float(scores.max())
    room = 0.01 * max(high - low, 1e-9)
    low, span = low - room, high - low + 2 * room
    return (scores - low) / span, low, span


def _curve_of(
    features: Sequence[Floats], right: NDArray[np.bool_], low: float, span: float
) -> Points:
    """A logistic regression, as points; features that would make it fall are left out."""
    chosen = list(range(len(features)))
    while True:
        columns = np.stack([*(features[each] for each in chosen), np.ones(len(right))], axis=1)
        weights = _regression(columns, right)
        falling = [each for each, weight in zip(chosen, weights, strict=False) if weight < 0]
        if not falling:
            break
        chosen = [each for each in chosen if each not in falling]
    grid = np.linspace(0.01, 0.99, 33)
    shapes = [grid] if len(features) == 1 else [np.log(grid), -np.log1p(-grid)]
    columns = np.stack([*(shapes[each] for each in chosen), np.ones(len(grid))], axis=1)
    return Points(low + grid * span, columns @ weights)


def _regression(columns: Floats, right: NDArray[np.bool_]) -> Floats:
    """Weights of a logistic regression by Newton's method, with a slight ridge."""
    weights = np.zeros(columns.shape[1])
    for _ in range(_NEWTON_STEPS):
        shares = sigmoid(columns @ weights)
        gradient = columns.T @ (shares - right) + _RIDGE * weights
        curvature = (columns * (shares * (1 - shares))[:, None]).T @ columns
        step = np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
        weights = weights - np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _pooled(shares: Floats, counts: Floats) -> Floats:
    """Pool adjacent violators: the nearest shares that do not fall, by weighted squares."""
    blocks: list[list[float]] = []  # value, weight, bins
    for share, count in zip(shares, counts, strict=True):
        blocks.append([share, count, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, weight, size = blocks.pop()
            total = blocks[-1][1] + weight
            blocks[-1][0] = (blocks[-1][0] * blocks[-1][1] + value * weight) / total
            blocks[-1][1], blocks[-1][2] = total, blocks[-1][2] + size
    return np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])


def departure(points: Points, candidates: Candidates, spread: float) -> Departure:
    """How one language pair departs from the curve of all: maximum a posteriori, where the offset
    and twice the log of the slope are normal around 0 with deviation `spread`. With few candidates
    it stays near none."""
    base = points.at(candidates.scores)
    right = candidates.right.astype(np.float64)
    offset, log_slope = 0.0, 0.0
    for _ in range(_NEWTON_STEPS):
        slope = np.exp(log_slope)
        shares = sigmoid(offset + slope * base)
        columns = np.stack([np.ones(len(base)), slope * base], axis=1)
        gradient = columns.T @ (shares - right) + np.array([offset, 4 * log_slope]) / spread**2
        # Gauss and Newton: without the curvature of the slope itself it stays positive definite.
        curvature = (columns * (shares * (1 - shares))[:, None]).T @ columns
        curvature += np.diag([1.0, 4.0]) / spread**2
        step = np.clip(np.linalg.solve(curvature, gradient), -1, 1)
        offset, log_slope = offset - step[0], log_slope - step[1]
        if np.abs(step).max() < 1e-7:
            break
    return Departure(float(offset), float(np.exp(log_slope)))


def sigmoid(log_odds: Floats) -> Floats:
    """Probabilities of log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * log_odds))
