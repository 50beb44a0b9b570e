"""Curves and departures against laws and against answers that are drawn by known probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.calibration.candidates import SCORES, Candidates, Drawn, Floats, candidates
from training.calibration.fitting import FAMILIES, departure, isotonic, sigmoid
from training.calibration.measuring import (
    Predictions,
    calibration_error,
    choose,
    cross_fitted,
    left_out,
    log_loss,
)
from training.evaluation.similarity import Vectors


def _answers(log_odds: Floats, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.random.default_rng(seed).random(len(log_odds)) < sigmoid(log_odds)


def _scores(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(0.2, 0.9, count)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_finds_log_odds_that_are_linear(name: str) -> None:
    scores = _scores(20_000)
    truth = 12 * (scores - 0.6)
    points = FAMILIES[name](scores, _answers(truth, 1))
    grid = np.linspace(0.3, 0.8, 21)
    expected = sigmoid(12 * (grid - 0.6))
    np.testing.assert_allclose(sigmoid(points.at(grid)), expected, atol=0.04)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 600), st.sampled_from(sorted(FAMILIES)))
def test_every_curve_is_monotone_and_finite(seed: int, count: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=count), 1)
    points = FAMILIES[name](scores, rng.random(count) < 0.5)
    assert np.isfinite(points.log_odds).all()
    assert (np.diff(points.scores) > 0).all()
    assert (np.diff(points.log_odds) >= -1e-9).all()


def test_isotonic_finds_a_step() -> None:
    scores = _scores(8_000)
    points = isotonic(scores, scores > 0.5)
    assert sigmoid(points.at(np.array([0.4, 0.6]))) == pytest.approx([0, 1], abs=0.01)


def test_a_departure_is_found_where_there_is_much_and_not_where_there_is_little() -> None:
    scores = _scores(30_000)
    points = isotonic(scores, _answers(12 * (scores - 0.6), 1))
    shifted = 1.0 + 0.5 * points.at(scores)
    right = _answers(shifted, 2)

    def found(count: int, spread: float) -> tuple[float, float]:
        one = Candidates(scores[:count], right[:count], np.arange(count))
        own = departure(points, one, spread)
        return own.offset, own.slope

    assert found(30_000, 1.0) == pytest.approx((1.0, 0.5), abs=0.06)
    offset, slope = found(5, 0.1)
    assert abs(offset) < 0.1
    assert slope == pytest.approx(1.0, abs=0.1)


def test_the_error_is_that_of_its_definition() -> None:
    probabilities = np.array([0.01, 0.05, 0.95, 0.99])
    right = np.array([False, True, True, True])
    # Two bins with two candidates: means 0.03 and 0.97, shares 0.5 and 1.
    assert calibration_error(probabilities, right) == pytest.approx((0.47 + 0.03) / 2)
    assert calibration_error(np.full(1000, 0.5), np.arange(1000) % 2 == 0) == pytest.approx(0)
    assert log_loss(np.array([0.5, 0.25]), np.array([True, False])) == pytest.approx(
        -(np.log(0.5) + np.log(0.75)) / 2
    )


def _language(offset: float, seed: int, count: int = 1_500) -> Drawn:
    scores = _scores(count, seed)
    best = Candidates(scores, _answers(12 * (scores - 0.6) + offset, seed + 1), np.arange(count))
    low = _scores(count, seed + 2) - 0.5
    return Drawn(best, Candidates(low, np.zeros(count, np.bool_), np.arange(count)))


def test_what_is_right_by_construction_is_measured_as_right() -> None:
    drawn = {"de": _language(0.5, 1), "fr": _language(0.0, 10), "sw": _language(-0.5, 20)}
    choice = choose(drawn)
    predictions = choice.predictions
    assert set(choice.losses) == set(FAMILIES)
    assert choice.losses[choice.family] == min(choice.losses.values())
    assert predictions.error < 0.02
    mean, least = predictions.mean_error, predictions.least_error()
    assert mean is not None
    assert least is not None
    assert mean < least + 0.015


def test_a_language_that_is_left_out_is_predicted_by_the_others_alone() -> None:
    drawn = {"de": _language(0.0, 1), "fr": _language(0.0, 10), "sw": _language(-3.0, 20)}
    errors = left_out(drawn, isotonic).errors
    assert errors["sw"] > 0.15  # nobody told it
    own = cross_fitted(drawn, isotonic, 1.0).errors
    assert own["sw"] < 0.05


def test_few_candidates_have_no_error_of_their_own() -> None:
    few = Predictions({"et": (np.full(99, 0.5), np.zeros(99, np.bool_))})
    assert few.errors == {}
    assert few.mean_error is None


def _pairs(count: int, noise: float) -> tuple[Vectors, Vectors]:
    rng = np.random.default_rng(3)
    base = rng.normal(size=(count, 16))

    def unit(rows: Floats) -> Vectors:
        found: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return found

    return unit(base), unit(base + noise * rng.normal(size=base.shape))


def test_candidates_are_scored_as_brute_force_does() -> None:
    ones, others = _pairs(30, 0.8)
    found = candidates(ones, others)
    # The first turn: pairs 0 mod 3 give their second text alone, 1 mod 3 their first alone.
    in_ones = [i for i in range(30) if i % 3 != 0]
    in_others = [i for i in range(30) if i % 3 != 1]
    cosines = (ones[in_ones] @ others[in_others].T).astype(np.float64)
    own = np.sort(cosines, axis=1)[:, -4:].mean(axis=1)
    other = np.sort(cosines, axis=0)[-4:].mean(axis=0)
    for name, score in SCORES.items():
        best = found[name].best
        values = score(cosines, own[:, None], other[None])
        near = np.argsort(-cosines, axis=1)[:, :4]
        expected = [max(near[i], key=lambda j, i=i: values[i, j]) for i in range(len(in_ones))]
        assert best.pair[: len(in_ones)].tolist() == in_ones
        np.testing.assert_allclose(
            best.scores[: len(in_ones)],
            [values[i, j] for i, j in enumerate(expected)],
            rtol=1e-4,
        )
        right = [in_ones[i] == in_others[j] for i, j in enumerate(expected)]
        assert best.right[: len(in_ones)].tolist() == right
        assert not found[name].random.right.any()


def test_half_of_the_texts_have_their_translation_in_the_other_list() -> None:
    ones, others = _pairs(90, 0.0)
    best = candidates(ones, others)["cosine"].best
    assert len(best) == 90 * 4
    assert best.right.mean() == pytest.approx(0.5)


def test_random_partners_are_lower_and_wrong() -> None:
    ones, others = _pairs(90, 0.5)
    drawn = candidates(ones, others)["margin_ratio"]
    assert drawn.random.scores.mean() < drawn.best.scores[~drawn.best.right].mean()
