"""Contrastive objectives over pairs of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


class Direction(StrEnum):
    """Which side looks for its partner among the other's."""

    ONE_WAY = "one-way"
    SYMMETRIC = "symmetric"


def info_nce(
    english: Tensor, other: Tensor, temperature: float, direction: Direction = Direction.ONE_WAY
) -> Tensor:
    """InfoNCE over cosines with in-batch negatives, a scalar.

    L = -(1/N) sum_i log( exp(cos(en_i, xx_i)/T) / sum_k exp(cos(en_i, xx_k)/T) ), from English to
    the other language as in GranCATs (Liu et al., CIKM 2023); `SYMMETRIC` adds the way back and
    halves the sum. `english` and `other` are (pairs, dim), row i of one translating row i of the
    other.
    """
    if english.shape != other.shape or english.dim() != 2:
        raise ValueError(f"shapes {tuple(english.shape)} and {tuple(other.shape)} are no pairs")
    # Cosines in float32: under bf16 autocast their differences would drown in rounding.
    cosines = normalize(english.float(), dim=-1) @ normalize(other.float(), dim=-1).T
    logits = cosines / temperature
    partner = torch.arange(len(logits), device=logits.device)
    forward = cross_entropy(logits, partner)
    if direction is Direction.ONE_WAY:
        return forward
    return (forward + cross_entropy(logits.T, partner)) / 2


def matryoshka(
    loss: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor, prefixes: Sequence[int]
) -> Tensor:
    """The sum of `loss` over the first dimensions that each of `prefixes` counts, and over all of
    them, so that a vector may be cut to any of these widths (Kusupati et al., 2022).

    `left` and `right` are (pairs, dim). Raises ValueError where a prefix is no part of a vector.
    """
    if any(not 0 < width < left.shape[-1] for width in prefixes):
        raise ValueError(f"prefixes {list(prefixes)} are not all shorter than {left.shape[-1]}")
    total = loss(left, right)
    for width in prefixes:
        total = total + loss(left[:, :width], right[:, :width])
    return total
