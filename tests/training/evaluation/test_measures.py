"""Figures by hand, and against definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.measures import (
    Retrieved,
    best_threshold,
    hits_at,
    mean_reciprocal_rank,
    ndcg_at,
    spearman,
)

RANKS = np.array([1, 2, 3, 10, 11])


def test_retrieval_figures_by_hand() -> None:
    assert hits_at(RANKS, 1) == pytest.approx(20)
    assert hits_at(RANKS, 2) == pytest.approx(40)
    assert hits_at(RANKS, 10) == pytest.approx(80)
    assert mean_reciprocal_rank(RANKS) == pytest.approx(
        100 * (1 + 1 / 2 + 1 / 3 + 0.1 + 1 / 11) / 5
    )
    # 1/log2(2), 1/log2(3), 1/log2(4), 1/log2(11), and nothing from the eleventh on.
    assert ndcg_at(RANKS, 10) == pytest.approx(
        100 * (1 + 0.6309298 + 0.5 + 0.2890648 + 0) / 5, rel=1e-6
    )


@given(st.lists(st.integers(1, 20), min_size=1))
def test_ndcg_is_the_ratio_of_gains_with_one_relevant_text(found: list[int]) -> None:
    total = 0.0
    for rank in found:
        relevant = [1 if place == rank else 0 for place in range(1, 21)]
        gain = sum(r / math.log2(place + 1) for place, r in enumerate(relevant[:10], start=1))
        total += gain / (1 / math.log2(2))
    assert ndcg_at(np.array(found), 10) == pytest.approx(100 * total / len(found))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12))
def test_spearman_is_pearson_of_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    def mean_ranks(values: list[int]) -> list[float]:
        # Below a value, plus the middle of those equal to it.
        return [
            sum(other < value for other in values) + (values.count(value) + 1) / 2
            for value in values
        ]

    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert spearman(one, other) == 0
    else:
        expected = np.corrcoef(mean_ranks(one), mean_ranks(other))[0, 1]
        assert spearman(one, other) == pytest.approx(100 * expected, abs=1e-9)


def test_spearman_of_perfect_orders() -> None:
    assert spearman([1, 2, 3, 9], [0.1, 0.2, 0.4, 0.5]) == pytest.approx(100)
    assert spearman([1, 2, 3, 9], [5, 4, 3, 2]) == pytest.approx(-100)
    # A textbook's: 1 − 6·Σd²/(n(n²−1)) = 1 − 6·6/(5·24).
    assert spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(100 * (1 - 6 * 4 / 120))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_f1_is_the_harmonic_mean(correct: int, wrong: int, missed: int) -> None:
    found = Retrieved.of(correct, correct + wrong, correct + missed)
    if correct == 0:
        assert found.f1 == 0
    else:
        assert found.precision == pytest.approx(100 * correct / (correct + wrong))
        assert found.recall == pytest.approx(100 * correct / (correct + missed))
        harmonic = 2 / (1 / found.precision + 1 / found.recall)
        assert found.f1 == pytest.approx(harmonic)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=10),
    st.integers(0, 4),
)
def test_no_threshold_gives_a_better_f1(pairs: list[tuple[int, bool]], missed: int) -> None:
    pairs.sort(key=lambda pair: -pair[0])
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    correct = np.array([right for _, right in pairs], dtype=np.bool_)
    gold = int(correct.sum()) + missed

    def f1(threshold: float) -> float:
        taken = scores >= threshold
        return Retrieved.of(int((taken & correct).sum()), int(taken.sum()), gold).f1

    threshold = best_threshold(scores, correct, gold)
    best = max(map(f1, [*np.arange(-0.5, 6), -math.inf, math.inf]))
    assert f1(threshold) == pytest.approx(best)


def test_the_threshold_lies_half_way_and_is_the_highest_of_equals() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.2], dtype=np.float32)
    right = np.array([True, True, False, False])
    assert best_threshold(scores, right, 2) == pytest.approx(0.6)
    assert best_threshold(scores, np.array([True] * 4), 4) == -math.inf
    assert best_threshold(scores, np.array([False] * 4), 4) == math.inf
    # Of three to be found: one right of one, or two right of five. F1 is 1/2 for both.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], dtype=np.float32)
    right = np.array([True, False, False, False, True])
    assert best_threshold(scores, right, 3) == pytest.approx(0.85)
