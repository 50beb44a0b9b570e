import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.objectives import Direction, info_nce, matryoshka


def slow_info_nce(english: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """The equation of METHODS, one log and one exp at a time, in float64."""
    total = 0.0
    for i in range(len(english)):
        weights = []
        for k in range(len(other)):
            dot = float(sum(english[i] * other[k]))
            norms = float(np.sqrt(sum(english[i] ** 2)) * np.sqrt(sum(other[k] ** 2)))
            weights.append(np.exp(dot / norms / temperature))
        total += np.log(weights[i] / sum(weights))
    return -total / len(english)


vectors = arrays(
    np.float64, (5, 3), elements=st.floats(-2, 2).filter(lambda value: abs(value) > 0.05)
)


@settings(deadline=None)
@given(english=vectors, other=vectors, temperature=st.sampled_from([0.05, 0.1, 1.0]))
def test_one_way_is_the_papers_equation(
    english: np.ndarray, other: np.ndarray, temperature: float
) -> None:
    loss = info_nce(torch.tensor(english), torch.tensor(other), temperature)
    assert loss.item() == pytest.approx(slow_info_nce(english, other, temperature), abs=1e-4)


@settings(deadline=None)
@given(english=vectors, other=vectors)
def test_symmetric_is_the_mean_of_both_ways(english: np.ndarray, other: np.ndarray) -> None:
    loss = info_nce(torch.tensor(english), torch.tensor(other), 0.1, Direction.SYMMETRIC)
    both = slow_info_nce(english, other, 0.1) + slow_info_nce(other, english, 0.1)
    assert loss.item() == pytest.approx(both / 2, abs=1e-4)


def test_gradient_points_where_the_loss_falls() -> None:
    rng = np.random.default_rng(0)
    english = torch.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    other = rng.normal(size=(4, 3))
    info_nce(english, torch.tensor(other), 0.5).backward()  # type: ignore[no-untyped-call]
    assert english.grad is not None
    for i, j in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[i, j] = 1e-5
        values = english.detach().numpy()
        rise = slow_info_nce(values + step, other, 0.5) - slow_info_nce(values - step, other, 0.5)
        assert english.grad[i, j].item() == pytest.approx(rise / 2e-5, abs=1e-4)


def test_lists_of_unlike_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        info_nce(torch.ones(3, 2), torch.ones(4, 2), 0.1)


@settings(deadline=None)
@given(english=vectors, other=vectors, prefixes=st.sampled_from([(), (1,), (1, 2)]))
def test_matryoshka_is_the_sum_over_its_widths(
    english: np.ndarray, other: np.ndarray, prefixes: tuple[int, ...]
) -> None:
    loss = matryoshka(
        lambda left, right: info_nce(left, right, 0.5),
        torch.tensor(english),
        torch.tensor(other),
        prefixes,
    )
    widths = [slow_info_nce(english[:, :n], other[:, :n], 0.5) for n in (*prefixes, 3)]
    assert loss.item() == pytest.approx(sum(widths), abs=1e-4)


@pytest.mark.parametrize("prefixes", [(0,), (3,), (1, 4), (-1,)])
def test_a_prefix_is_a_part_of_the_vector(prefixes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are not all shorter than 3"):
        matryoshka(lambda a, b: (a * b).sum(), torch.ones(2, 3), torch.ones(2, 3), prefixes)
