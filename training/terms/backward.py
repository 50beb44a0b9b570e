"""One forward and backward pass over a batch in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from training.gradcache import cached_backward

Chunk = TypeVar("Chunk")


def backward(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    place: Tensor,
    objective: Callable[[Tensor], Tensor],
    scale: float,
    cached: bool,
) -> Tensor:
    """Add the gradient of `scale` x `objective` to what `encode` trains; return the objective's
    value, a scalar.

    `encode` gives a chunk's (rows, …), `place` tells where each text stands among the rows of all
    chunks, and `objective` sees (texts, …) in the texts' order. `cached`: activations of one chunk
    at a time are held (`training.gradcache`); the gradient is the same.
    """

    def ordered(outputs: Tensor) -> Tensor:
        return objective(outputs[place.to(outputs.device)])

    if cached:
        return cached_backward(encode, chunks, ordered, scale)
    loss = ordered(torch.cat([encode(chunk) for chunk in chunks]))
    if loss.requires_grad:  # else no text went through anything that is trained
        (loss * scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach()
