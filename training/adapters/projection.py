"""Heads on the pooled vector: the kind `projection`, which touches no layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.backbone import masked_mean

_HEADS = "projection_heads"


class ProjectionHead(nn.Module):
    """What a head adds to a pooled vector v: U relu(D v + b) + c; nothing while it is fresh."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.adapter_down = nn.Linear(width, bottleneck)
        self.adapter_up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """(rows, 1, width) → the same."""
        return self.adapter_up(torch.relu(self.adapter_down(pooled)))  # type: ignore[no-any-return]


class ProjectionHeads(nn.ModuleDict):
    """The heads of a model by name, of which at most one is active."""

    active: str | None = None

    def move(self, model: nn.Module, args: object, kwargs: dict[str, Any], output: Any) -> Any:  # noqa: ANN401 - transformers carries no types
        """A forward hook: all token states of a row move by what the active head adds to their
        mean, so that whoever pools them finds the head's vector."""
        if self.active is None:
            return output
        states = output.last_hidden_state
        mask = kwargs.get("attention_mask")
        if mask is None:
            mask = states.new_ones(states.shape[:2])
        pooled = masked_mean(states.float(), mask).unsqueeze(1)
        output.last_hidden_state = states + self[self.active](pooled)
        return output


def heads(model: nn.Module) -> ProjectionHeads | None:
    """The model's heads; None where it never got any."""
    found = getattr(model, _HEADS, None)
    return found if isinstance(found, ProjectionHeads) else None


def add_head(model: nn.Module, name: str, width: int, bottleneck: int) -> None:
    """Give `model` a fresh head called `name`, not active."""
    found = heads(model)
    if found is None:
        found = ProjectionHeads()
        model.add_module(_HEADS, found)
        model.register_forward_hook(found.move, with_kwargs=True)
    found[name] = ProjectionHead(width, bottleneck)
