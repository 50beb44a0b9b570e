"""How far probabilities can be trusted: measured on candidates that they were not fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.calibration.candidates import Candidates, Drawn, Floats
from training.calibration.fitting import FAMILIES, Departure, Family, Points, departure, sigmoid

_BINS = 15
_FOLDS = 5
# Of a language pair's departure; the one that predicts best is taken.
SPREADS = (0.1, 0.3, 1.0)
# Fewer candidates of a language pair say nothing of its error.
_LEAST_CANDIDATES = 100

Flags = NDArray[np.bool_]


def calibration_error(probabilities: Floats, right: Flags) -> float:
    """Expected calibration error (Naeini et al., 2015): over 15 bins of equal width, the mean
    distance between a bin's mean probability and its share that is right, by counts."""
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    predicted = np.bincount(bins, probabilities, _BINS)
    found = np.bincount(bins, right, _BINS)
    return float(np.abs(predicted - found).sum() / max(1, counts.sum()))


def log_loss(probabilities: Floats, right: Flags) -> float:
    """Mean negative log-likelihood, in nats."""
    kept = np.clip(np.where(right, probabilities, 1 - probabilities), 1e-9, 1)
    return float(-np.log(kept).mean())


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities of candidates that were not fitted on, by language."""

    by_language: Mapping[str, tuple[Floats, Flags]]

    @property
    def pooled(self) -> tuple[Floats, Flags]:
        """Of all languages together."""
        both = list(self.by_language.values())
        return np.concatenate([one for one, _ in both]), np.concatenate([two for _, two in both])

    @property
    def log_loss(self) -> float:
        """Of all together."""
        return log_loss(*self.pooled)

    @property
    def errors(self) -> dict[str, float]:
        """The calibration error of each language that has enough candidates."""
        return {
            language: calibration_error(probabilities, right)
            for language, (probabilities, right) in self.by_language.items()
            if len(right) >= _LEAST_CANDIDATES
        }

    @property
    def mean_error(self) -> float | None:
        """The mean of `errors`; None where there is none."""
        errors = self.errors
        return sum(errors.values()) / len(errors) if errors else None

    @property
    def error(self) -> float:
        """The calibration error of all together."""
        return calibration_error(*self.pooled)

    def least_error(self, seed: int = 0) -> float | None:
        """What `mean_error` would be if the probabilities were right to the last digit: few
        candidates scatter around any. Of one draw of answers."""
        rng = np.random.default_rng(seed)
        return Predictions(
            {
                language: (probabilities, rng.random(len(probabilities)) < probabilities)
                for language, (probabilities, _) in self.by_language.items()
            }
        ).mean_error

    def reliability(self) -> list[tuple[float, float, int]]:
        """Of each bin that is not empty: mean probability, share that is right, candidates."""
        probabilities, right = self.pooled
        bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
        return [
            (
                float(probabilities[bins == each].mean()),
                float(right[bins == each].mean()),
                int((bins == each).sum()),
            )
            for each in np.unique(bins)
        ]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A curve with the departures of language pairs."""

    points: Points
    departures: Mapping[str, Departure]


def fit(drawn: Mapping[str, Drawn], family: Family, spread: float) -> Fitted:
    """Fit all languages' best and random candidates, then how each departs in its best ones."""
    points = _curve(drawn, family)
    return Fitted(
        points, {name: departure(points, each.best, spread) for name, each in drawn.items()}
    )


def cross_fitted(drawn: Mapping[str, Drawn], family: Family, spread: float) -> Predictions:
    """Predict each fifth of the pairs of texts by what the other four fifths say."""
    found: dict[str, list[tuple[Floats, Flags]]] = {name: [] for name in drawn}
    for fold in range(_FOLDS):
        others = {
            name: Drawn(*(each.take(each.pair % _FOLDS != fold) for each in (own.best, own.random)))
            for name, own in drawn.items()
        }
        fitted = fit(others, family, spread)
        for name, own in drawn.items():
            held = own.best.take(own.best.pair % _FOLDS == fold)
            log_odds = fitted.departures[name].of(fitted.points.at(held.scores))
            found[name].append((sigmoid(log_odds), held.right))
    return Predictions(
        {
            name: (
                np.concatenate([one for one, _ in parts]),
                np.concatenate([two for _, two in parts]),
            )
            for name, parts in found.items()
        }
    )


def left_out(drawn: Mapping[str, Drawn], family: Family) -> Predictions:
    """Predict each language pair by the curve of all the others."""
    found = {}
    for name, own in drawn.items():
        points = _curve({other: each for other, each in drawn.items() if other != name}, family)
        found[name] = (sigmoid(points.at(own.best.scores)), own.best.right)
    return Predictions(found)


@dataclass(frozen=True, slots=True)
class Choice:
    """What predicts best, and how it was found."""

    family: str
    spread: float
    # Log loss of each family with its best spread.
    losses: Mapping[str, float]
    predictions: Predictions


def choose(drawn: Mapping[str, Drawn]) -> Choice:
    """The family and spread with the least log loss on what they were not fitted on."""
    found = {
        (name, spread): cross_fitted(drawn, family, spread)
        for name, family in FAMILIES.items()
        for spread in SPREADS
    }
    best = min(found, key=lambda each: found[each].log_loss)
    losses = {name: min(found[name, spread].log_loss for spread in SPREADS) for name in FAMILIES}
    return Choice(*best, losses, found[best])


def _curve(drawn: Mapping[str, Drawn], family: Family) -> Points:
    parts: list[Candidates] = [part for own in drawn.values() for part in (own.best, own.random)]
    return family(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.right for part in parts]),
    )
