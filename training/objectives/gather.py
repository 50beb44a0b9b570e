"""One batch over several processes: everyone's vectors are everyone's negatives.

Each process embeds its rows, gathers all, and computes the objective of the joined batch; then the
processes average their gradients. That is the gradient of one process with the joined batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, distributed

from training.objectives.cosine import full_precision


def gather(vectors: Tensor) -> Tensor:
    """All processes' rows, those of process 0 first: (rows, dim) → (processes x rows, dim), with a
    gradient to each.

    Backward adds up what every process's objective says of a row, so averaged gradients are those
    of the mean of the processes' objectives, be these all the joined batch's or each another part
    of it. Every process calls it at the same point, and backward through it too. One process alone
    gets `vectors` back. Raises ValueError, in all of them, where row counts differ.
    """
    if processes() == 1:
        return vectors
    _check_alike(len(vectors), vectors.device)
    return cast("Tensor", _Gather.apply(vectors))  # type: ignore[no-untyped-call]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each parameter's gradient by its mean over all processes, as DDP does.

    Called once, after the last backward of a step, so that GradCache and accumulation send
    gradients once. A process without a gradient counts as zero; a parameter that no process has one
    for keeps none. Every process gives the same parameters in the same order.
    """
    if processes() == 1:
        return
    every = list(parameters)
    if not every:
        return
    device = every[0].device
    parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in every]
    present = torch.tensor([each.grad is not None for each in every], device=device)
    flat = torch.cat([full_precision(part.flatten()) for part in [*parts, present]])
    distributed.all_reduce(flat)
    sizes = [each.numel() for each in every]
    *sums, counts = torch.split(flat, [*sizes, len(every)])
    for each, total, count in zip(every, sums, counts.tolist(), strict=True):
        if count:
            each.grad = (total / processes()).view_as(each).to(each.dtype)


def processes() -> int:
    """How many processes train together; 1 where torch.distributed was not initialised."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        ctx.rows = len(own)
        parts = [torch.empty_like(own) for _ in range(processes())]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        start = distributed.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def _check_alike(rows: int, device: torch.device) -> None:
    own = torch.tensor([rows], device=device)
    counts = [torch.empty_like(own) for _ in range(processes())]
    distributed.all_gather(counts, own)
    found = [int(each) for each in counts]
    if len(set(found)) > 1:
        raise ValueError(f"processes gather {found} rows; give each the same number of rows")
