"""The token table and its optimizer, which touches only the rows of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.student.tokens import IntVector


class TokenTable:
    """Token vectors, float32 (vocabulary, dim), trained by Adam on the rows that a batch holds.

    The moments of a row stand still while it is absent ("lazy" Adam), so that a step costs in
    proportion to the batch and a rare token keeps its momentum until it is seen again.
    """

    def __init__(self, vectors: Tensor, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.vectors = vectors
        self._first = torch.zeros_like(vectors)
        self._second = torch.zeros_like(vectors)
        self._betas = betas
        self._steps = 0

    def rows(self, ids: IntVector) -> tuple[IntVector, Tensor]:
        """The distinct values of `ids`, rising, and their vectors, which take a gradient."""
        distinct: IntVector = np.unique(ids)
        return distinct, self.vectors[self._index(distinct)].requires_grad_()

    def step(self, distinct: IntVector, rows: Tensor, learning_rate: float) -> None:
        """One step of Adam (Kingma and Ba, 2015) on what `rows` returned, by its gradient."""
        gradient = rows.grad
        if gradient is None:
            raise RuntimeError("no gradient has reached the table")
        self._steps += 1
        index = self._index(distinct)
        decay, square_decay = self._betas
        first = self._first[index].lerp_(gradient, 1 - decay)
        second = self._second[index].mul_(square_decay)
        second.addcmul_(gradient, gradient, value=1 - square_decay)
        self._first[index], self._second[index] = first, second
        scale = (second / (1 - square_decay**self._steps)).sqrt_().add_(1e-8)
        step = learning_rate / (1 - decay**self._steps)
        self.vectors[index] = rows.detach().addcdiv_(first, scale, value=-step)

    def _index(self, ids: IntVector) -> Tensor:
        return torch.from_numpy(ids).to(self.vectors.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "vectors": self.vectors,
            "first": self._first,
            "second": self._second,
            "steps": self._steps,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go back to a state that `state_dict` gave."""
        self.vectors.copy_(state["vectors"])
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps = state["steps"]
