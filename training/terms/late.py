"""Late interaction: the pairs compared by their tokens' states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from training.embedding import Batch, Chunk
from training.objectives.late import late_info_nce
from training.terms.backward import backward
from training.terms.term import Draw, OwnTerm, Setting


@dataclass(frozen=True, slots=True)
class _Prepared:
    batch: Batch
    mask: Tensor  # bool (texts, tokens)


class LateInteraction(OwnTerm):
    """`late_info_nce` over all tokens of the pairs, special ones included."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def prepare(self, draw: Draw) -> _Prepared:
        """The pairs' rows, and where their tokens are."""
        lengths = torch.tensor([len(row.ids) for row in draw.rows])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        return _Prepared(self._setting.encoder.batch(draw.rows), mask)

    def backward(self, prepared: _Prepared, scale: float) -> Mapping[str, float]:
        """All token states of the batch are held, (texts, tokens of the longest, dim)."""
        encoder, plan = self._setting.encoder, self._setting.plan
        left_mask, right_mask = prepared.mask.to(encoder.device).chunk(2)
        width = prepared.mask.shape[1]

        def encode(chunk: Chunk) -> Tensor:
            states = encoder.states(chunk)
            return pad(states, (0, 0, 0, width - states.shape[1]))

        def objective(states: Tensor) -> Tensor:
            left, right = states.chunk(2)
            return late_info_nce(
                left, right, left_mask, right_mask, plan.temperature, plan.direction
            )

        batch, cached = prepared.batch, plan.gradient_cache
        loss = backward(encode, batch.chunks, batch.place, objective, scale, cached)
        return {"loss": loss.item()}
