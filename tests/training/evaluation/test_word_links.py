"""Word alignment by hand and against every one-to-one matching there is."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from training.evaluation.word_links import (
    METHODS,
    Links,
    Similarities,
    alignment_error_rate,
    argmax_intersection,
    itermax,
    maximum_weight_matching,
    similarities,
)

matrices = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.integers(0, 64).map(lambda n: n / 64),
)


def test_similarities_by_hand() -> None:
    one = np.array([[2, 0], [0, 0]], dtype=np.float32)
    other = np.array([[3, 0], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)
    expected = np.array([[1, 0.5, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(similarities(one, other), expected)


def test_argmax_takes_what_is_best_for_both() -> None:
    values = np.array([[0.9, 0.8], [0.85, 0.1]], dtype=np.float32)
    assert argmax_intersection(values) == {(0, 0)}
    assert argmax_intersection(np.zeros((2, 0), dtype=np.float32)) == frozenset()


def test_itermax_links_again_what_the_first_round_left() -> None:
    # Round 1: (0, 0). Round 2: word 1 is free and its best, 0.9 · 0.85, is column 0, a linked word
    # that prefers it too now that (0, 0) is out; column 1 has 0.9 · 0.8 from word 0 at best.
    values = np.array([[0.9, 0.8], [0.85, 0.1]], dtype=np.float32)
    assert itermax(values, rounds=1) == {(0, 0)}
    assert itermax(values) == {(0, 0), (1, 0), (0, 1)}
    # A free partner is better than a linked one as soon as it has 0.9 of its similarity.
    values = np.array([[0.9, 0.0], [0.85, 0.78]], dtype=np.float32)
    assert itermax(values) == {(0, 0), (1, 1)}
    values[1, 1] = 0.75  # 0.9 · 0.85 = 0.765 is more
    assert (1, 0) in itermax(values)


@given(matrices)
def test_itermax_only_adds_links(values: Similarities) -> None:
    previous: Links = frozenset()
    for rounds in range(1, 4):
        links = itermax(values, rounds=rounds)
        assert previous <= links
        # What one round adds is one-to-one, and never joins two words that both had a link.
        added = links - previous
        assert len({i for i, _ in added}) == len({j for _, j in added}) == len(added)
        had_a, had_b = {i for i, _ in previous}, {j for _, j in previous}
        assert not any(i in had_a and j in had_b for i, j in added)
        previous = links


@given(matrices)
def test_no_matching_weighs_more(values: Similarities) -> None:
    n, m = values.shape
    if n <= m:
        weights = [
            sum(float(values[i, j]) for i, j in enumerate(chosen))
            for chosen in permutations(range(m), n)
        ]
    else:
        weights = [
            sum(float(values[i, j]) for j, i in enumerate(chosen))
            for chosen in permutations(range(n), m)
        ]
    links = maximum_weight_matching(values)
    assert sum(float(values[i, j]) for i, j in links) == pytest.approx(max(weights))
    assert len({i for i, _ in links}) == len({j for _, j in links}) == len(links)
    assert len(links) == min(n, m) or any(values[i, j] == 0 for i in range(n) for j in range(m))


def test_a_large_matching_finds_a_planted_one() -> None:
    rng = np.random.default_rng(3)
    order = rng.permutation(60)
    values = rng.uniform(0, 0.4, (60, 60)).astype(np.float32)
    values[np.arange(60), order] = 0.9
    assert maximum_weight_matching(values) == set(enumerate(order.tolist()))


@pytest.mark.parametrize("method", METHODS)
def test_empty_words_are_never_linked(method: str) -> None:
    values = np.zeros((2, 3), dtype=np.float32)
    values[0, 1] = 0.7
    assert METHODS[method](values) == {(0, 1)}
    assert METHODS[method](np.zeros((0, 3), dtype=np.float32)) == frozenset()


def test_aer_by_hand() -> None:
    sure: Links = frozenset({(0, 0), (1, 1)})
    possible: Links = frozenset({(2, 1)})
    found: Links = frozenset({(0, 0), (2, 1), (2, 2)})
    # |A∩S| = 1, |A∩P| = 2 with P holding S, |A| = 3, |S| = 2.
    assert alignment_error_rate([found], [sure], [possible]) == pytest.approx(100 * (1 - 3 / 5))
    assert alignment_error_rate([found], [sure], [possible | sure]) == pytest.approx(40)
    # Counts are summed over sentences, not averaged.
    both = alignment_error_rate([found, sure], [sure, sure], [possible, frozenset()])
    assert both == pytest.approx(100 * (1 - (3 + 4) / (5 + 4)))
    assert alignment_error_rate([sure], [sure], [frozenset()]) == 0
    assert alignment_error_rate([frozenset()], [frozenset()], [frozenset()]) == 0
    assert alignment_error_rate([frozenset()], [sure], [possible]) == 100
