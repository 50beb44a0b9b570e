"""From the score of a pair to the probability that it is a translation, as the bundle knows it.

A bundle carries curves that were fitted on text its adapters did not learn from
(docs/calibration.md has how, and under which conditions they hold); here they are only applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.bundle import Granularity, Manifest
from models.calibration import CalibrationTable, Curve, Shift, pair_key, read_calibration
from service.alignment.scoring import Floats, Score

_NO_SHIFT = Shift(offset=0.0, slope=1.0)


@dataclass(frozen=True)
class Calibration:
    """What one bundle knows of its scores; empty where it was never calibrated."""

    table: CalibrationTable | None

    @classmethod
    def of(cls, manifest: Manifest) -> Calibration:
        """Read a bundle's calibration; BundleError, in one line, where it is malformed."""
        return cls(read_calibration(manifest))

    @cached_property
    def _curves(self) -> dict[tuple[Granularity, str], _Curve]:
        if self.table is None:
            return {}
        return {
            (granularity, score): _Curve.of(curve)
            for granularity, own in self.table.granularities.items()
            for score, curve in own.curves.items()
        }

    def probabilities(
        self,
        scores: Floats,
        *,
        score: Score,
        granularity: Granularity,
        languages: tuple[str, str] | None = None,
    ) -> Floats | None:
        """The probability of each pair to be a translation, (n,), rising with its score.

        Of the language pair where the bundle knows it, else of the granularity; None where the
        bundle has nothing for this score of this granularity. A score of NaN gives NaN.
        """
        curve = self._curves.get((granularity, str(score)))
        return None if curve is None else curve.probabilities(scores, languages)

    def threshold(
        self,
        probability: float,
        *,
        score: Score,
        granularity: Granularity,
        languages: tuple[str, str] | None = None,
    ) -> float | None:
        """The least score from which on pairs have at least this probability.

        -inf where every pair has it, inf where none can; None as in `probabilities`.
        """
        curve = self._curves.get((granularity, str(score)))
        return None if curve is None else curve.threshold(probability, languages)


@dataclass(frozen=True, slots=True)
class _Curve:
    scores: NDArray[np.float64]  # (points,), rising
    log_odds: NDArray[np.float64]  # (points,), not falling
    pairs: dict[str, Shift]

    @classmethod
    def of(cls, curve: Curve) -> _Curve:
        return cls(np.array(curve.scores), np.array(curve.log_odds), curve.pairs)

    def _shift(self, languages: tuple[str, str] | None) -> Shift:
        return self.pairs.get(pair_key(languages), _NO_SHIFT) if languages else _NO_SHIFT

    def probabilities(self, scores: Floats, languages: tuple[str, str] | None) -> Floats:
        shift = self._shift(languages)
        found = np.interp(np.asarray(scores, np.float64), self.scores, self.log_odds)
        log_odds = shift.offset + shift.slope * found
        # 1 / (1 + exp(-x)) without overflow, whatever the bundle says.
        probabilities: Floats = (0.5 * (1 + np.tanh(0.5 * log_odds))).astype(np.float32)
        return probabilities

    def threshold(self, probability: float, languages: tuple[str, str] | None) -> float:
        if probability <= 0:
            return -math.inf
        if probability >= 1:
            return math.inf
        shift = self._shift(languages)
        wanted = (math.log(probability / (1 - probability)) - shift.offset) / shift.slope
        if wanted <= self.log_odds[0]:
            return -math.inf
        if wanted > self.log_odds[-1]:
            return math.inf
        # The first point that reaches it, and the line that leads there, which rises.
        end = int(np.searchsorted(self.log_odds, wanted))
        low, high = self.log_odds[end - 1], self.log_odds[end]
        share = (wanted - low) / (high - low)
        return float(self.scores[end - 1] + share * (self.scores[end] - self.scores[end - 1]))
