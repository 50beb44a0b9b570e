"""What a manifest's `calibration` holds: from scores to probabilities. `models/README.md` explains
each field; `training/calibration` writes it, `service/alignment/calibration.py` applies it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.bundle import BundleError, Granularity, Language, Manifest, Name

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Shift(_Value):
    """How a language pair differs: its log-odds are offset + slope × those of the curve."""

    offset: float
    slope: Annotated[float, Field(gt=0)]


class Curve(_Value):
    """A monotone map from one score to log-odds, and what was measured of it."""

    # Scores rise, log-odds do not fall; linear between two points, level beyond the first and last.
    scores: Annotated[tuple[float, ...], Field(min_length=2)]
    log_odds: Annotated[tuple[float, ...], Field(min_length=2)]
    # By two languages in alphabetical order with a space between: `de en`.
    pairs: dict[str, Shift]
    # Expected calibration error on texts that were not fitted: of all pairs together; of each pair,
    # the mean; and of each by the curve of all the others, the mean. None where too few to say.
    error: Probability
    error_of_pair: Probability | None
    error_of_unseen_pair: Probability | None

    @model_validator(mode="after")
    def _is_monotone(self) -> Self:
        if len(self.scores) != len(self.log_odds):
            raise ValueError(f"{len(self.scores)} scores and {len(self.log_odds)} log_odds")
        if any(one >= other for one, other in pairwise(self.scores)):
            raise ValueError("scores do not rise")
        if any(one > other for one, other in pairwise(self.log_odds)):
            raise ValueError("log_odds fall")
        for key in self.pairs:
            names = key.split(" ")
            if len(names) != 2 or names != sorted(names):
                raise ValueError(
                    f"pairs: {key[:40]!r} is not two languages in alphabetical order with a space "
                    "between"
                )
        return self


class AdapterCalibration(_Value):
    """The curves of one adapter, which serves one granularity."""

    adapter: Name
    curves: dict[Name, Curve]  # by score: cosine, margin_ratio, margin_distance, csls
    # Pairs of texts that they were fitted on, by language beside English.
    texts: dict[Language, Count]


class CalibrationTable(_Value):
    """From the score of a candidate, a text's best partner in the other list, to the probability
    that it is a translation, under the conditions that stand here."""

    version: Literal[1]
    # The share of texts that have a translation in the other list.
    prior: Probability
    # Texts of each list, at most, and the k of the margins.
    pool: Annotated[int, Field(gt=0)]
    neighbours: Annotated[int, Field(gt=0)]
    granularities: dict[Granularity, AdapterCalibration]


def read_calibration(manifest: Manifest) -> CalibrationTable | None:
    """The calibration of a manifest, None where it has none.

    Raises BundleError, in one line, where it is not as `models/README.md` says.
    """
    if manifest.calibration is None:
        return None
    refused = f"bundle {manifest.name} {manifest.version}: calibration"
    try:
        # As JSON, where strict means that a text is no number and a list may be a tuple.
        table = CalibrationTable.model_validate_json(json.dumps(manifest.calibration), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f".{part}" for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise BundleError(f"{refused}{place}: {reason}") from None
    for granularity, own in table.granularities.items():
        served = manifest.routing.get(granularity)
        if own.adapter != served:
            raise BundleError(
                f"{refused}.granularities.{granularity}: fitted on adapter {own.adapter}, and "
                f"{served or 'none'} serves it; calibrate the bundle again"
            )
    return table


def pair_key(languages: tuple[str, str]) -> str:
    """How `Curve.pairs` names two languages, in either order."""
    return " ".join(sorted(languages))
