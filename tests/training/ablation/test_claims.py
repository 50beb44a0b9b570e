from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ablation.claims import Finding, Verdict, chance, find, overall, verdict
from training.ablation.plan import Claim, Comparison

POINTS = st.lists(st.integers(-50, 50).map(lambda n: n / 8), min_size=2, max_size=6)


@given(POINTS)
def test_the_rule_as_it_is_written_on_the_page(differences: list[float]) -> None:
    n = len(differences)
    mean = math.fsum(differences) / n
    variance = math.fsum((each - mean) ** 2 for each in differences) / (n - 1)
    error = math.sqrt(variance / n)
    if min(differences) > 0 and mean > 2 * error:
        expected = "reproduced"
    elif max(differences) < 0 and -mean > 2 * error:
        expected = "contradicted"
    else:
        expected = "not reproduced"
    assert verdict(differences) == expected


@given(POINTS)
def test_the_opposite_claim_gets_the_opposite_mark(differences: list[float]) -> None:
    opposite = {
        Verdict.REPRODUCED: Verdict.CONTRADICTED,
        Verdict.CONTRADICTED: Verdict.REPRODUCED,
        Verdict.NOT_REPRODUCED: Verdict.NOT_REPRODUCED,
    }
    assert verdict([-each for each in differences]) == opposite[verdict(differences)]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.2, 0.9], Verdict.REPRODUCED),
        ([0.1, 4.0, 0.1], Verdict.NOT_REPRODUCED),  # one seed carries the mean
        ([1.0, 1.0, 5.0], Verdict.NOT_REPRODUCED),  # 1.75 errors; 2.1 by the population's deviation
        ([3.0, 3.0, 3.0, 3.0, 3.0, 3.0, -0.1], Verdict.NOT_REPRODUCED),  # 5.8 errors, one against
        ([-1.0, -1.2, -0.9], Verdict.CONTRADICTED),
        ([0.0, 0.0, 0.0], Verdict.NOT_REPRODUCED),
        ([5.0], Verdict.NOT_MEASURED),
        ([], Verdict.NOT_MEASURED),
    ],
)
def test_marks_of_planted_differences(differences: list[float], expected: Verdict) -> None:
    assert verdict(differences) is expected


CLAIM = Claim(says="a beats b", source="here", on=("m",), order=("a", "b"))


def test_differences_are_paired_by_seed_and_turned_to_the_claim() -> None:
    values = {"a": {"m": {1: 10.0, 2: 20.0, 3: 30.0}}, "b": {"m": {2: 19.0, 3: 28.5, 9: 0.0}}}
    comparison = Comparison("a", "b", "m")
    assert find(comparison, CLAIM, values, lower_is_better=False).differences == {2: 1.0, 3: 1.5}
    lower = find(comparison, CLAIM, values, lower_is_better=True)
    assert (lower.differences, lower.verdict) == ({2: -1.0, 3: -1.5}, Verdict.CONTRADICTED)
    harmless = CLAIM.model_copy(update={"allowance": 2.0})
    allowed = find(comparison, harmless, values, lower_is_better=True)
    assert (allowed.differences, allowed.verdict) == ({2: 1.0, 3: 0.5}, Verdict.REPRODUCED)
    missing = find(Comparison("a", "c", "m"), CLAIM, values, lower_is_better=False)
    assert missing.verdict is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (["reproduced", "reproduced"], "reproduced"),
        (["reproduced", "not reproduced"], "not reproduced"),
        (["reproduced", "not measured", "not reproduced"], "not measured"),
        (["not measured", "contradicted", "reproduced"], "contradicted"),
    ],
)
def test_a_claim_is_no_better_than_its_comparisons(marks: list[str], expected: str) -> None:
    findings = [Finding(Comparison("a", "b", "m"), {}, Verdict(mark)) for mark in marks]
    assert overall(findings) == expected


def test_the_chance_of_a_mark_is_that_of_students_distribution() -> None:
    # P(t > 2) in closed form, for 1 and 2 degrees of freedom; there the mean can exceed two
    # standard errors only where all signs agree.
    assert chance(2) == pytest.approx(0.5 - math.atan(2) / math.pi, abs=0.004)
    assert chance(3) == pytest.approx(0.5 - 1 / math.sqrt(6), abs=0.004)
    assert chance(5) < chance(3)
