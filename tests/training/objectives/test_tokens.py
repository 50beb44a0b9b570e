from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import pad

from tests.training.objectives.slow import cosine, leaf, normal
from training.evaluation.word_links import argmax_intersection, similarities
from training.objectives.tokens import (
    link_partners,
    mutual_partners,
    token_alignment,
    word_vectors,
)

ROWS, A, B = 3, 4, 5


def some_partners(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((ROWS, A, B)) < 0.25


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Words first, then padding, at least one word in each text."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, A + 1, (ROWS, 1)), rng.integers(1, B + 1, (ROWS, 1))
    return np.arange(A) < lengths[0], np.arange(B) < lengths[1]


def slow_one_way(
    left: np.ndarray,
    right: np.ndarray,
    left_mask: np.ndarray,
    right_mask: np.ndarray,
    partners: np.ndarray,
) -> float:
    losses = []
    for row in range(len(left)):
        for i in range(left.shape[1]):
            everyone = own = 0.0
            for k in range(right.shape[1]):
                if left_mask[row, i] and right_mask[row, k]:
                    weight = np.exp(cosine(left[row, i], right[row, k]) / 0.2)
                    everyone += weight
                    own += weight * partners[row, i, k]
            if own:
                losses.append(-np.log(own / everyone))
    return float(np.mean(losses)) if losses else 0.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_words_are_found_among_those_of_the_other_text(seed: int) -> None:
    left, right = normal(seed, ROWS, A, 3), normal(seed + 1, ROWS, B, 3)
    partners = some_partners(seed)
    left_mask, right_mask = masks(seed)
    there = slow_one_way(left, right, left_mask, right_mask, partners)
    back = slow_one_way(right, left, right_mask, left_mask, partners.transpose(0, 2, 1))
    given = [torch.tensor(each) for each in (left, right, left_mask, right_mask, partners)]
    found = token_alignment(given[0], given[1], given[2], given[3], given[4], 0.2)
    assert found.item() == pytest.approx((there + back) / 2, abs=1e-9)
    # More padding, whatever it holds, changes nothing.
    padded = token_alignment(
        pad(given[0], (0, 0, 0, 2), value=7.0),
        pad(given[1], (0, 0, 0, 1)),
        pad(given[2], (0, 2)),
        pad(given[3], (0, 1)),
        pad(given[4], (0, 1, 0, 2), value=True),
        0.2,
    )
    assert padded.item() == pytest.approx(found.item(), abs=1e-9)


def test_gradients_of_token_alignment() -> None:
    left_mask, right_mask = (torch.tensor(each) for each in masks(3))
    partners = torch.tensor(some_partners(3))
    assert gradcheck(
        lambda a, b: token_alignment(a, b, left_mask, right_mask, partners, 0.5),
        (leaf(normal(0, ROWS, A, 3)), leaf(normal(1, ROWS, B, 3))),
    )


def test_where_no_word_has_a_partner_there_is_nothing_to_learn() -> None:
    left, right = leaf(normal(0, 1, A, 3)), leaf(normal(1, 1, B, 3))
    words = torch.ones(1, A, dtype=torch.bool), torch.ones(1, B, dtype=torch.bool)
    nobody = torch.zeros(1, A, B, dtype=torch.bool)
    loss = token_alignment(left, right, *words, nobody, 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert left.grad is not None
    assert left.grad.abs().max() == 0


def test_partners_of_other_texts_are_refused() -> None:
    words = torch.ones(1, 2, 3), torch.ones(1, 2, 3)
    mask = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="give \\(rows, left words, right words\\)"):
        token_alignment(*words, mask, mask, torch.ones(1, 2, 3, dtype=torch.bool), 0.1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 5))
def test_a_word_is_the_mean_of_its_sub_words(seed: int, count: int) -> None:
    states = normal(seed, 2, 6, 3)
    words = np.random.default_rng(seed).integers(-1, count, (2, 6))
    vectors, mask = word_vectors(torch.tensor(states), torch.tensor(words), count)
    assert vectors.shape == (2, count, 3)
    for row, word in np.ndindex(2, count):
        own = [states[row, token] for token in range(6) if words[row, token] == word]
        assert mask[row, word].item() == bool(own)
        expected = sum(own) / len(own) if own else np.zeros(3)
        np.testing.assert_allclose(vectors[row, word].numpy(), expected, atol=1e-12)


def test_gradients_go_back_to_sub_words() -> None:
    words = torch.tensor([[-1, 0, 0, 2, -1]])

    def loss(states: torch.Tensor) -> torch.Tensor:
        vectors, mask = word_vectors(states, words, 3)
        partners = torch.eye(3, dtype=torch.bool).unsqueeze(0)
        return token_alignment(vectors, vectors.flip(1), mask, mask.flip(1), partners, 0.5)

    assert gradcheck(loss, (leaf(normal(0, 1, 5, 3)),))


def test_a_word_beyond_the_count_is_refused() -> None:
    with pytest.raises(ValueError, match="word 2 is not among 2; give a larger count"):
        word_vectors(torch.ones(2, 1, 3), torch.tensor([[2], [0]]), 2)


def test_links_are_partners() -> None:
    found = link_partners([(0, 1), (2, 0), (2, 1)], 3, 2)
    assert found.tolist() == [[False, True], [False, False], [True, True]]
    for outside in [(3, 0), (0, 2), (-1, 0), (0, -1)]:
        with pytest.raises(ValueError, match="points outside of 3 and 2 words"):
            link_partners([outside], 3, 2)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), diagonal=st.sampled_from([0.0, 0.3, 5.0]))
def test_mutual_partners_are_simaligns(seed: int, diagonal: float) -> None:
    left = normal(seed, ROWS, A, 3).astype(np.float32)
    right = normal(seed + 1, ROWS, B, 3).astype(np.float32)
    left_mask, right_mask = masks(seed)
    one, other, one_mask, other_mask = map(torch.tensor, (left, right, left_mask, right_mask))
    found = mutual_partners(one, other, one_mask, other_mask, diagonal)
    for row in range(ROWS):
        words = left[row][left_mask[row]], right[row][right_mask[row]]
        near = 10 + 2 * similarities(*words)  # cosines and more: the oracle links above 0 only
        for i, j in np.ndindex(near.shape):
            near[i, j] -= diagonal * abs((i + 0.5) / near.shape[0] - (j + 0.5) / near.shape[1])
        assert {(int(i), int(j)) for i, j in found[row].nonzero()} == argmax_intersection(near)


def test_a_text_without_words_has_no_partners() -> None:
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    some = torch.ones(1, 2, dtype=torch.bool)
    vectors = torch.tensor(normal(0, 1, 2, 3))
    assert not mutual_partners(vectors, vectors, nothing, some).any()
    assert mutual_partners(vectors[:, :0], vectors, nothing[:, :0], some).shape == (1, 0, 2)
