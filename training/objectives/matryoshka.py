"""Any objective of two sides, at several widths of its vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


def matryoshka(
    loss: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor, prefixes: Sequence[int]
) -> Tensor:
    """The sum of `loss` over the first dimensions that each of `prefixes` counts, and over all of
    them, so that a vector may be cut to any of these widths (Kusupati et al., 2022).

    L = loss(x, y) + sum_w loss(x[:w], y[:w]). `left` and `right` are (pairs, dim). Raises
    ValueError where a prefix is no part of a vector.
    """
    if any(not 0 < width < left.shape[-1] for width in prefixes):
        raise ValueError(f"prefixes {list(prefixes)} are not all shorter than {left.shape[-1]}")
    total = loss(left, right)
    for width in prefixes:
        total = total + loss(left[:, :width], right[:, :width])
    return total
