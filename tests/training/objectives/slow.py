"""The arithmetic of objectives, one number at a time, in float64."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def normal(seed: int, *shape: int) -> Floats:
    """Random vectors, of no particular length."""
    return np.random.default_rng(seed).normal(size=shape)


def leaf(values: Floats) -> Tensor:
    """The same as a tensor that wants a gradient."""
    return torch.tensor(values, requires_grad=True)


def cosine(one: Floats, other: Floats) -> float:
    dot = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    norms = [np.sqrt(sum(float(a) ** 2 for a in each)) for each in (one, other)]
    return float(dot / (norms[0] * norms[1]))


def log_share(scores: list[float], place: int, temperature: float) -> float:
    """The logarithm of a softmax at one place."""
    weights = [np.exp(score / temperature) for score in scores]
    return float(np.log(weights[place] / sum(weights)))
