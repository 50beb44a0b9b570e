"""The rule by which a claim is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np

from training.ablation.plan import Claim, Comparison

# By how many standard errors the mean of the differences has to exceed zero.
STANDARD_ERRORS = 2.0
RULE = (
    "A comparison of two rows is marked by its differences between runs of one seed, turned so "
    "that positive is what was claimed: reproduced, where all are positive and their mean exceeds "
    f"{STANDARD_ERRORS:g} standard errors; contradicted, where all are negative and the same holds "
    "of their size; not reproduced else; not measured, where fewer than two seeds gave both rows. "
    "A claim is contradicted where one of its comparisons is, reproduced where all are, not "
    "measured where one was not and none is contradicted, and not reproduced else."
)


class Verdict(StrEnum):
    """What became of a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one comparison."""

    comparison: Comparison
    # By seed, in points; positive is what was claimed.
    differences: Mapping[int, float]
    verdict: Verdict


def verdict(differences: Sequence[float]) -> Verdict:
    """The mark of one comparison by its paired differences, one per seed: `RULE`."""
    if len(differences) < 2:
        return Verdict.NOT_MEASURED
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    if abs(mean) > STANDARD_ERRORS * error:
        if (values > 0).all():
            return Verdict.REPRODUCED
        if (values < 0).all():
            return Verdict.CONTRADICTED
    return Verdict.NOT_REPRODUCED


def find(
    comparison: Comparison,
    claim: Claim,
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
    lower_is_better: bool,
) -> Finding:
    """What the values, row -> measure -> seed -> percent, say of a comparison."""
    one, other = (
        values.get(row, {}).get(comparison.measure, {})
        for row in (comparison.better, comparison.worse)
    )
    sign = -1 if lower_is_better else 1
    # Rounded as the scores are, so that equal scores differ by nothing.
    differences = {
        seed: round(sign * (one[seed] - other[seed]) + claim.allowance, 3)
        for seed in one
        if seed in other
    }
    return Finding(comparison, differences, verdict(list(differences.values())))


def overall(findings: Sequence[Finding]) -> Verdict:
    """The mark of a claim by those of its comparisons: `RULE`."""
    found = {finding.verdict for finding in findings}
    for mark in (Verdict.CONTRADICTED, Verdict.NOT_MEASURED, Verdict.NOT_REPRODUCED):
        if mark in found:
            return mark
    return Verdict.REPRODUCED


@cache
def chance(seeds: int) -> float:
    """How often a comparison of two arms that are truly alike would be marked reproduced, and how
    often contradicted: by 100,000 draws of normal differences, always the same ones."""
    draws = np.random.default_rng(0).normal(size=(100_000, seeds))
    means, errors = draws.mean(axis=1), draws.std(axis=1, ddof=1) / seeds**0.5
    marked = (draws > 0).all(axis=1) & (means > STANDARD_ERRORS * errors)
    return float(marked.mean())
