"""The gradient of a contrastive loss over a batch whose activations would not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Chunk = TypeVar("Chunk")


def cached_backward(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    objective: Callable[[Tensor], Tensor],
    scale: float = 1.0,
) -> Tensor:
    """Add the gradient of `scale` x `objective` over all chunks to what `encode` trains, holding
    the activations of one chunk at a time; return the objective's value, a scalar.

    `encode` gives a chunk's vectors, (rows, dim); `objective` sees those of all chunks, in their
    order, (all rows, dim). GradCache (Gao et al., 2021): embed without gradient, take
    dL/d(embedding), embed each chunk again with gradient and send its rows of dL/d(embedding) back
    through it. The gradient is the whole batch's, for one more forward pass. Random states are
    replayed, so that dropout falls alike both times.
    """
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_states())
            parts.append(encode(chunk))
    vectors = torch.cat(parts).requires_grad_()
    loss = objective(vectors)
    (loss * scale).backward()  # type: ignore[no-untyped-call]
    if vectors.grad is None:
        raise ValueError("the objective does not depend on the vectors")
    gradients = torch.split(vectors.grad, [len(part) for part in parts])
    after = _random_states()
    for chunk, state, gradient in zip(chunks, states, gradients, strict=True):
        _set_random_states(state)
        again = encode(chunk)
        if again.requires_grad:  # else this chunk went through nothing that is trained
            again.backward(gradient)  # type: ignore[no-untyped-call]
    _set_random_states(after)
    return loss.detach()


def _random_states() -> list[Tensor]:
    """The states of torch's generators: the CPU's, then every CUDA device's."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_random_states(states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])
