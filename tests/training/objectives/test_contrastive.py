import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.autograd import gradcheck

from tests.training.objectives.slow import cosine, leaf, log_share, normal
from training.objectives.contrastive import (
    Direction,
    info_nce,
    momentum_contrast,
    nt_xent,
    ranking_with_hard_negatives,
    true_negatives,
)


def slow_info_nce(
    english: np.ndarray, other: np.ndarray, temperature: float, margin: float = 0.0
) -> float:
    """The equation of METHODS, one log and one exp at a time, in float64."""
    total = 0.0
    for i in range(len(english)):
        weights = []
        for k in range(len(other)):
            similarity = cosine(english[i], other[k]) - margin * (i == k)
            weights.append(np.exp(similarity / temperature))
        total += np.log(weights[i] / sum(weights))
    return -total / len(english)


vectors = arrays(
    np.float64, (5, 3), elements=st.floats(-2, 2).filter(lambda value: abs(value) > 0.05)
)
few = settings(deadline=None, max_examples=30)


@few
@given(
    english=vectors,
    other=vectors,
    temperature=st.sampled_from([0.05, 0.1, 1.0]),
    margin=st.sampled_from([0.0, 0.3]),
)
def test_one_way_is_the_papers_equation(
    english: np.ndarray, other: np.ndarray, temperature: float, margin: float
) -> None:
    loss = info_nce(torch.tensor(english), torch.tensor(other), temperature, margin=margin)
    expected = slow_info_nce(english, other, temperature, margin)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


@few
@given(english=vectors, other=vectors, margin=st.sampled_from([0.0, 0.3]))
def test_symmetric_is_the_mean_of_both_ways(
    english: np.ndarray, other: np.ndarray, margin: float
) -> None:
    loss = info_nce(
        torch.tensor(english), torch.tensor(other), 0.1, Direction.SYMMETRIC, margin=margin
    )
    both = slow_info_nce(english, other, 0.1, margin) + slow_info_nce(other, english, 0.1, margin)
    assert loss.item() == pytest.approx(both / 2, abs=1e-9)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_gradients_of_info_nce(direction: Direction, margin: float) -> None:
    sides = leaf(normal(0, 4, 3)), leaf(normal(1, 4, 3))
    assert gradcheck(lambda a, b: info_nce(a, b, 0.5, direction, margin), sides)


def test_without_a_margin_nothing_is_taken_off_a_low_precision_batch() -> None:
    left, right = torch.tensor(normal(0, 6, 8)).float(), torch.tensor(normal(1, 6, 8)).float()
    logits = torch.nn.functional.normalize(left) @ torch.nn.functional.normalize(right).T / 0.05
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    assert torch.equal(info_nce(left, right, 0.05), expected)  # to the bit, as recipes had it


def test_lists_of_unlike_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        info_nce(torch.ones(3, 2), torch.ones(4, 2), 0.1)


def test_nt_xent_sees_every_other_text_of_both_sides() -> None:
    left, right = normal(0, 4, 3), normal(1, 4, 3)
    both = np.concatenate([left, right])
    total = 0.0
    for i in range(8):
        others = [k for k in range(8) if k != i]
        scores = [cosine(both[i], both[k]) for k in others]
        total -= log_share(scores, others.index((i + 4) % 8), 0.2)
    loss = nt_xent(torch.tensor(left), torch.tensor(right), 0.2)
    assert loss.item() == pytest.approx(total / 8)
    assert gradcheck(lambda a, b: nt_xent(a, b, 0.5), (leaf(left), leaf(right)))


@pytest.mark.parametrize("in_batch", [False, True])
def test_momentum_contrast_is_with_the_queue_and_if_wanted_the_batch(in_batch: bool) -> None:
    queries, keys, queue = normal(0, 3, 4), normal(1, 3, 4), normal(2, 5, 4)
    total = 0.0
    for i in range(3):
        negatives = [*queue, *(keys[k] for k in range(3) if in_batch and k != i)]
        scores = [cosine(queries[i], each) for each in [keys[i], *negatives]]
        total -= log_share(scores, 0, 0.2)
    tensors = [torch.tensor(each) for each in (queries, keys, queue)]
    loss = momentum_contrast(tensors[0], tensors[1], tensors[2], 0.2, in_batch)
    assert loss.item() == pytest.approx(total / 3)
    assert gradcheck(
        lambda a, b, c: momentum_contrast(a, b, c, 0.5, in_batch),
        (leaf(queries), leaf(keys), leaf(queue)),
    )


def test_an_empty_queue_is_nothing_to_contrast_with() -> None:
    sides, nothing = torch.tensor(normal(0, 3, 4)), torch.empty(0, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="the queue is empty"):
        momentum_contrast(sides, sides, nothing, 0.1)
    found = momentum_contrast(sides, sides, nothing, 0.1, in_batch=True)
    assert found.item() == pytest.approx(info_nce(sides, sides, 0.1).item())


@pytest.mark.parametrize("seed", range(3))
def test_ranking_has_the_batch_and_each_texts_own_hard_negatives(seed: int) -> None:
    left, right, hard = normal(seed, 4, 3), normal(9, 4, 3), normal(8, 4, 2, 3)
    keep = np.random.default_rng(seed).random((4, 2)) < 0.6
    total = 0.0
    for i in range(4):
        scores = [cosine(left[i], right[k]) for k in range(4)]
        scores += [cosine(left[i], hard[i, m]) for m in range(2) if keep[i, m]]
        total -= log_share(scores, i, 0.2)
    tensors = [torch.tensor(each) for each in (left, right, hard)]
    kept = torch.tensor(keep)
    loss = ranking_with_hard_negatives(tensors[0], tensors[1], tensors[2], 0.2, kept)
    assert loss.item() == pytest.approx(total / 4)
    assert gradcheck(
        lambda a, b, c: ranking_with_hard_negatives(a, b, c, 0.5, kept),
        (leaf(left), leaf(right), leaf(hard)),
    )


def test_ranking_without_hard_negatives_is_info_nce() -> None:
    left, right = torch.tensor(normal(0, 4, 3)), torch.tensor(normal(1, 4, 3))
    hard = torch.tensor(normal(2, 4, 2, 3))
    plain = info_nce(left, right, 0.1)
    nothing = torch.zeros(4, 2, dtype=torch.bool)
    found = ranking_with_hard_negatives(left, right, hard, 0.1, nothing)
    assert found.item() == pytest.approx(plain.item())
    assert ranking_with_hard_negatives(left, right, hard, 0.1).item() > plain.item()
    with pytest.raises(ValueError, match=r"do not fit 4 pairs; give \(pairs, negatives"):
        ranking_with_hard_negatives(left, right, hard[:3], 0.1)


@few
@given(
    positive=arrays(np.float64, 3, elements=st.floats(-1, 1)),
    negatives=arrays(np.float64, (3, 4), elements=st.floats(-1, 1)),
    margin=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_a_true_negative_is_a_margin_below_the_partner(
    positive: np.ndarray, negatives: np.ndarray, margin: float
) -> None:
    found = true_negatives(torch.tensor(positive), torch.tensor(negatives), margin)
    for i, m in np.ndindex(3, 4):
        assert found[i, m].item() == bool(negatives[i, m] < positive[i] - margin)
