from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.adapters import average
from training.adapters.weights import Weights
from training.errors import TrainingError


def _bottleneck(seed: int) -> Weights:
    torch.manual_seed(seed)
    return {"p.adapter_down.0.weight": torch.randn(3, 5), "p.adapter_up.bias": torch.randn(5)}


def _lora(seed: int, rank: int = 2) -> Weights:
    torch.manual_seed(seed)
    return {"q.lora_A": torch.randn(rank, 5), "q.lora_B": torch.randn(4, rank)}


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_bottlenecks_are_averaged_weight_by_weight(raw: list[float]) -> None:
    shares = np.array(raw) / np.sum(raw)
    members = [_bottleneck(seed) for seed in range(len(shares))]
    mean = average(members, shares.tolist())
    for key in members[0]:
        values = np.stack([each[key].numpy() for each in members]).astype(np.float64)
        wanted = np.tensordot(shares, values, axes=1)
        np.testing.assert_allclose(mean[key].numpy(), wanted, atol=1e-6)
        assert mean[key].dtype is torch.float32


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_of_lora_the_updates_are_averaged_exactly(raw: list[float], rank: int) -> None:
    shares = np.array(raw) / np.sum(raw)
    members = [_lora(seed, rank) for seed in range(len(shares))]
    mean = average(members, shares.tolist())
    assert tuple(mean["q.lora_A"].shape) == (rank * len(shares), 5)
    updates = [each["q.lora_B"].numpy() @ each["q.lora_A"].numpy() for each in members]
    wanted = np.tensordot(shares, np.stack(updates), axes=1)
    actual = mean["q.lora_B"].numpy() @ mean["q.lora_A"].numpy()
    np.testing.assert_allclose(actual, wanted, atol=1e-5)


def test_only_what_is_alike_and_has_a_share_is_averaged() -> None:
    with pytest.raises(TrainingError, match="different kind, shape or backbone"):
        average([_bottleneck(0), _lora(0)], [0.5, 0.5])
    with pytest.raises(TrainingError, match="different kind, shape or backbone"):
        average([_lora(0, 2), _lora(0, 3)], [0.5, 0.5])
    with pytest.raises(ValueError, match="2 adapters and 1 shares"):
        average([_lora(0), _lora(1)], [1.0])
