"""Bottleneck adapters on a frozen backbone: attach, select, and stack into one gathered set.

Training uses AdapterHub's modules as they are. For export, `stack` turns the linear layers of every
adapter slot into `GatheredLinear`, which takes the weights of a row's own adapter; all else in the
module (residuals, layer norms, non-linearity) stays the library's, so both compute the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import adapters
import torch
from adapters import AdapterModelInterface, SeqBnConfig
from adapters.methods.bottleneck import BottleneckLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.errors import TrainingError
from training.student.model import StudentConfig

# How AdapterHub finds its way in an encoder of ours. An adapter hooks in behind the feed-forward
# update, where it sees the whole stream; there is no layer norm there to reuse.
_INTERFACES = {
    StudentConfig.model_type: AdapterModelInterface(
        adapter_methods=["bottleneck"],
        model_embeddings="embeddings",
        model_layers="encoder.layer",
        layer_self_attn="attention",
        layer_cross_attn=None,
        attn_q_proj="query",
        attn_k_proj="key",
        attn_v_proj="value",
        attn_o_proj="output",
        layer_intermediate_proj="intermediate",
        layer_output_proj="output",
    )
}


def attach(model: nn.Module, names: Sequence[str], reduction_factor: float) -> None:
    """Add one fresh bottleneck adapter per name after every feed-forward sub-layer (Pfeiffer et
    al., 2021). The backbone stays frozen.

    Raises TrainingError where AdapterHub does not know the model's architecture.
    """
    # It warns of inactive adapters each time one is selected, from inside the selection.
    logging.getLogger("adapters.model_mixin").setLevel(logging.ERROR)
    try:
        adapters.init(model, interface=_INTERFACES.get(_model_type(model)))
    except ValueError as error:
        raise TrainingError(f"adapters do not fit this backbone: {error}") from None
    for name in names:
        model.add_adapter(name, SeqBnConfig(reduction_factor=reduction_factor))  # type: ignore[operator]
    model.requires_grad_(False)


def select(model: nn.Module, name: str | None, train: bool = False) -> list[nn.Parameter]:
    """Route the model through adapter `name` (None: the plain backbone) and return its parameters,
    trainable where `train` says so. Nothing else is trainable afterwards.
    """
    model.requires_grad_(False)
    model.set_active_adapters(name)  # type: ignore[operator]
    if name is None:
        return []
    parameters = [parameter for _, parameter in _parameters(model, name)]
    for parameter in parameters:
        parameter.requires_grad_(train)
    return parameters


def weights(model: nn.Module, name: str) -> dict[str, Tensor]:
    """The weights of adapter `name`, keyed without its name."""
    return {key: parameter.detach().clone() for key, parameter in _parameters(model, name)}


def load_weights(model: nn.Module, name: str, values: dict[str, Tensor]) -> None:
    """Set the weights of adapter `name`; TrainingError where they are another architecture's."""
    own = dict(_parameters(model, name))
    if {key: tuple(own[key].shape) for key in own} != {
        key: tuple(values[key].shape) for key in values
    }:
        raise TrainingError(
            f"the weights given for adapter {name} belong to another backbone or reduction factor"
        )
    for key, parameter in own.items():
        parameter.data.copy_(values[key])


def save(path: Path, values: dict[str, Tensor]) -> None:
    """Write adapter weights as safetensors."""
    save_file({key: value.contiguous() for key, value in values.items()}, path)


def load(path: Path) -> dict[str, Tensor]:
    """Read what `save` wrote."""
    return load_file(path)


def _model_type(model: nn.Module) -> str:
    return str(model.config.model_type)  # type: ignore[union-attr]


def _layers(model: nn.Module) -> Iterator[tuple[str, BottleneckLayer]]:
    for path, module in model.named_modules():
        if isinstance(module, BottleneckLayer) and len(module.adapters):
            yield path, module


def _parameters(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    for path, layer in _layers(model):
        for key, parameter in layer.adapters[name].named_parameters():
            yield f"{path}.{key}", parameter


class Selection:
    """Which adapter each row of the running batch takes: int64 (rows,), set before a forward."""

    ids: Tensor


class GatheredLinear(nn.Module):
    """A linear layer with one set of weights per adapter: (rows, tokens, in) → (…, out), each row
    through the weights that the selection names."""

    def __init__(self, parts: Sequence[nn.Linear], selection: Selection) -> None:
        super().__init__()
        # (adapters, in, out): transposed once here rather than in every batch.
        self.weight = nn.Parameter(torch.stack([part.weight.detach().T for part in parts]))
        self.bias = nn.Parameter(torch.stack([part.bias.detach()[None] for part in parts]))
        self._selection = selection

    def forward(self, states: Tensor) -> Tensor:
        ids = self._selection.ids
        return torch.matmul(states, self.weight[ids]) + self.bias[ids]


def stack(model: nn.Module, names: Sequence[str]) -> Selection:
    """Replace the adapters `names` by one set whose rows stand in that order; return its selector.

    Raises TrainingError for an adapter with parameters that no gathered layer carries.
    """
    selection = Selection()
    kept = names[0]
    for path, layer in _layers(model):
        parts: list[Any] = [layer.adapters[name] for name in names]
        for part in parts:
            plain = {"adapter_down.0.weight", "adapter_down.0.bias"}
            plain |= {"adapter_up.weight", "adapter_up.bias"}
            if {key for key, _ in part.named_parameters()} != plain:
                raise TrainingError(f"{path}: only plain bottleneck adapters can be exported")
        parts[0].adapter_down[0] = GatheredLinear([p.adapter_down[0] for p in parts], selection)
        parts[0].adapter_up = GatheredLinear([p.adapter_up for p in parts], selection)
    for name in names[1:]:
        model.delete_adapter(name)  # type: ignore[operator]
    model.set_active_adapters(kept)  # type: ignore[operator]
    model.requires_grad_(False)
    return selection
