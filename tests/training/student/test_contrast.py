import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from training.student.contrast import symmetric_info_nce


def _unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(rows, dim, generator=generator), dim=1)


@given(
    rows=st.sampled_from([2, 3, 511, 512, 513, 700]),
    temperature=st.sampled_from([0.05, 0.1, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_value_and_gradients_are_those_of_two_cross_entropies(
    rows: int, temperature: float, seed: int
) -> None:
    left, right = _unit(rows, 8, seed), _unit(rows, 8, seed + 1)
    gradients, values = [], []
    for fused in (True, False):
        a, b = left.clone().requires_grad_(), right.clone().requires_grad_()
        if fused:
            loss = symmetric_info_nce(a, b, temperature)
        else:
            scores = a @ b.T / temperature
            partner = torch.arange(rows)
            loss = (cross_entropy(scores, partner) + cross_entropy(scores.T, partner)) / 2
        (3 * loss).backward()  # type: ignore[no-untyped-call]
        assert a.grad is not None
        assert b.grad is not None
        gradients.append((a.grad.numpy(), b.grad.numpy()))
        values.append(float(loss.detach()))
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 + 1e-4 * np.abs(theirs).max())


def test_a_perfect_batch_costs_next_to_nothing() -> None:
    vectors = torch.eye(16)
    assert float(symmetric_info_nce(vectors, vectors, 0.05)) < 1e-6
