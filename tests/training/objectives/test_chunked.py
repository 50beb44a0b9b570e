from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from tests.training.objectives.memory import LargestTensor, saved_for_backward
from tests.training.objectives.slow import cosine, leaf, log_share, normal
from training.objectives import chunked
from training.objectives.chunked import chunked_info_nce
from training.objectives.contrastive import Direction, info_nce


def _value_and_gradients(
    loss: Tensor, sides: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    left, right = torch.autograd.grad(3 * loss, sides)
    return loss.detach(), left, right


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    pairs=st.integers(1, 9),
    cells=st.sampled_from([1, 10, 25, 1000]),
    temperature=st.sampled_from([0.01, 0.1, 1.0]),
    direction=st.sampled_from(Direction),
    margin=st.sampled_from([0.0, 0.3]),
)
def test_value_and_gradient_are_the_plain_ones(
    seed: int, pairs: int, cells: int, temperature: float, direction: Direction, margin: float
) -> None:
    sides = leaf(normal(seed, pairs, 3)), leaf(normal(seed + 1, pairs, 3))
    plain = _value_and_gradients(info_nce(*sides, temperature, direction, margin), sides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "_TILE_CELLS", cells)
        loss = chunked_info_nce(*sides, temperature, direction, margin)
        found = _value_and_gradients(loss, sides)
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", Direction)
def test_it_is_the_equation(direction: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_TILE_CELLS", 8)
    left, right = normal(0, 4, 3), normal(1, 4, 3)
    ways = [(left, right)] + [(right, left)] * (direction is Direction.SYMMETRIC)
    losses = [
        -log_share([cosine(one[i], other[k]) - 0.2 * (i == k) for k in range(4)], i, 0.5)
        for one, other in ways
        for i in range(4)
    ]
    sides = leaf(left), leaf(right)
    loss = chunked_info_nce(*sides, 0.5, direction, 0.2)
    assert loss.item() == pytest.approx(sum(losses) / len(losses))
    assert gradcheck(lambda a, b: chunked_info_nce(a, b, 0.5, direction, 0.2), sides)


def test_autocast_around_it_changes_nothing() -> None:
    sides = leaf(normal(0, 8, 16)), leaf(normal(1, 8, 16))
    low = sides[0].float(), sides[1].float()
    outside = _value_and_gradients(chunked_info_nce(*low, 0.05), sides)
    with torch.autocast("cpu", torch.bfloat16):
        inside = _value_and_gradients(chunked_info_nce(*low, 0.05), sides)
    for ours, theirs in zip(inside, outside, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("direction", Direction)
def test_memory_does_not_grow_with_the_square(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, dim = 256, 4
    monkeypatch.setattr(chunked, "_TILE_CELLS", 4 * pairs)

    def both_passes(objective: Callable[..., Tensor]) -> tuple[int, int]:
        sides = leaf(normal(0, pairs, dim)), leaf(normal(1, pairs, dim))
        kept = saved_for_backward(lambda: objective(*sides, 0.1, direction))
        with LargestTensor() as largest:
            objective(*sides, 0.1, direction).backward()  # type: ignore[no-untyped-call]
        return largest.numel, kept

    largest, kept = both_passes(chunked_info_nce)
    assert largest <= 4 * pairs
    assert kept <= 10 * pairs * dim
    largest, kept = both_passes(info_nce)
    assert min(largest, kept) >= pairs * pairs


def test_a_second_derivative_is_refused() -> None:
    sides = leaf(normal(0, 4, 3)), leaf(normal(1, 4, 3))
    loss = chunked_info_nce(*sides, 0.1)
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        torch.autograd.grad(loss, sides[0], create_graph=True)


def test_lists_of_unlike_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        chunked_info_nce(torch.ones(3, 2), torch.ones(4, 2), 0.1)
