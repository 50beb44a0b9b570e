"""Cosines in full precision, which every contrastive objective begins with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def full_precision(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 where they came so."""
    return values if values.dtype == torch.float64 else values.float()


def exactly(values: Tensor) -> torch.autocast:
    """A context in which no autocast lowers what is computed on the device of `values`."""
    return torch.autocast(values.device.type, enabled=False)


def unit(vectors: Tensor) -> Tensor:
    """Rows of length 1 in full precision, (…, dim) → the same; zero stays zero."""
    return normalize(full_precision(vectors), dim=-1)


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """The cosine of every row of `left` with every row of `right`, in full precision:
    (…, n, dim) and (…, m, dim) → (…, n, m).

    Under bf16 autocast the differences of cosines would drown in rounding.
    """
    with exactly(left):
        return unit(left) @ unit(right).mT


def check_pairs(left: Tensor, right: Tensor) -> None:
    """Raises ValueError where `left` and `right` are not both (pairs, dim)."""
    if left.shape != right.shape or left.dim() != 2:
        raise ValueError(
            f"shapes {tuple(left.shape)} and {tuple(right.shape)} are no pairs; "
            "give two of (pairs, dim), row i of one the partner of row i of the other"
        )
