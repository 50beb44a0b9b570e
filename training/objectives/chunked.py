"""InfoNCE over batches whose matrix of cosines would not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from training.objectives.contrastive import Direction
from training.objectives.cosine import check_pairs, exactly, unit

# Cosines held at a time: 16 MiB of float32.
_TILE_CELLS = 1 << 22


def chunked_info_nce(
    english: Tensor,
    other: Tensor,
    temperature: float,
    direction: Direction = Direction.ONE_WAY,
    margin: float = 0.0,
) -> Tensor:
    """What `contrastive.info_nce` computes, in value and gradient, in memory that grows with the
    pairs and not with their square.

    Cosines are computed in tiles of rows, of which sums of exponentials are kept, and again in the
    backward pass (as attention is in FlashAttention, Dao et al., 2022). Shapes and errors are those
    of `info_nce`; it has no second derivative.
    """
    check_pairs(english, other)
    symmetric = direction is Direction.SYMMETRIC
    with exactly(english):
        loss = _InfoNCE.apply(  # type: ignore[no-untyped-call]
            unit(english), unit(other), 1 / temperature, margin, symmetric
        )
    return cast("Tensor", loss)


class _InfoNCE(torch.autograd.Function):
    """Over unit rows."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        left: Tensor,
        right: Tensor,
        scale: float,
        margin: float,
        symmetric: bool,
    ) -> Tensor:
        rows = len(left)
        own, by_row = left.new_empty(rows), left.new_empty(rows)
        by_column = left.new_full((rows,), -torch.inf)
        for part, logits in _tiles(left, right, scale, margin):
            own[part] = logits.diagonal(part.start)
            by_row[part] = logits.logsumexp(1)
            if symmetric:
                by_column = torch.logaddexp(by_column, logits.logsumexp(0))
        ctx.save_for_backward(left, right, by_row, by_column)
        ctx.scale, ctx.margin, ctx.symmetric = scale, margin, symmetric
        forward = (by_row - own).mean()
        return (forward + (by_column - own).mean()) / 2 if symmetric else forward

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's
        gradient: Tensor,
    ) -> tuple[Tensor, Tensor, None, None, None]:
        left, right, by_row, by_column = ctx.saved_tensors
        to_left, to_right = torch.empty_like(left), torch.zeros_like(right)
        with exactly(left):
            for part, logits in _tiles(left, right, ctx.scale, ctx.margin):
                # The softmax of a row less the one at its partner, and the same of columns.
                weights = (logits - by_row[part, None]).exp()
                if ctx.symmetric:
                    weights = (weights + (logits - by_column).exp()) / 2
                weights.diagonal(part.start).sub_(1)
                torch.mm(weights, right, out=to_left[part])
                to_right.addmm_(weights.T, left[part])
        step = gradient * ctx.scale / len(left)
        return to_left * step, to_right * step, None, None, None


def _tiles(
    left: Tensor, right: Tensor, scale: float, margin: float
) -> Iterator[tuple[slice, Tensor]]:
    """Logits of some rows with all columns at a time: (rows of the slice, pairs)."""
    rows = max(1, _TILE_CELLS // max(1, len(right)))
    for start in range(0, len(left), rows):
        part = slice(start, min(start + rows, len(left)))
        logits = left[part] @ right.T
        logits.diagonal(start).sub_(margin)
        yield part, logits.mul_(scale)
