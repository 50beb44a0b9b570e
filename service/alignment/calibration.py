"""How likely a pair with a score is a translation, as a bundle has it measured."""

from __future__ import annotations

from models.bundle import Granularity, Manifest
from service.alignment.scoring import Floats, Score


class Calibration:
    """What a bundle's manifest says of scores; no bundle of today says anything.

    This version reads no calibration: every probability is unknown.
    """

    @classmethod
    def of(cls, manifest: Manifest) -> Calibration:
        """The calibration of the bundle with `manifest`."""
        return cls()

    def probabilities(
        self,
        scores: Floats,
        *,
        score: Score,
        granularity: Granularity,
        languages: tuple[str, str] | None,
    ) -> Floats | None:
        """The probability of each score, (n,); None where the bundle has none."""
        return None

    def threshold(
        self,
        probability: float,
        *,
        score: Score,
        granularity: Granularity,
        languages: tuple[str, str] | None,
    ) -> float | None:
        """The least score with at least this probability; None where the bundle has none."""
        return None
