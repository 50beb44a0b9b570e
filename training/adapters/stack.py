"""All adapters of a model as one set, from which each row of a batch gathers its own.

Training uses AdapterHub's modules as they are. For export, `stack` puts the linear layers of every
place into `GatheredLinear`, which takes the weights of a row's own adapter; all else (residuals,
layer norms, non-linearities) stays the library's, so both compute the same.

Where an adapter has no part, or a narrower one, its row holds zeros: they add nothing. So kinds and
widths may be mixed, and each kind costs its time in every row. The last layer of each part is
called `adapter_up`: with those at zero, the graph is the plain backbone
(`training.evaluation.embedder.without_adapters`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from adapters.composition import Stack
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRA, LoRALinear
from adapters.methods.modeling import Adapter
from torch import Tensor, nn

from training.adapters.projection import ProjectionHead, ProjectionHeads, heads
from training.adapters.weights import parts
from training.errors import TrainingError

_PLAIN_BOTTLENECK = {
    "adapter_down.0.weight",
    "adapter_down.0.bias",
    "adapter_up.weight",
    "adapter_up.bias",
}

_STACKED = "stacked"


class Selection:
    """Which adapter each row of the running batch takes: int64 (rows,), set before a forward."""

    ids: Tensor


class GatheredLinear(nn.Module):
    """A linear layer with one set of weights per adapter: (rows, tokens, in) → (…, out), each row
    through the weights that the selection names. None stands for an adapter without the layer."""

    def __init__(self, layers: Sequence[nn.Linear | None], selection: Selection) -> None:
        super().__init__()
        present = [layer for layer in layers if layer is not None]
        inputs = max(layer.in_features for layer in present)
        outputs = max(layer.out_features for layer in present)
        # (adapters, in, out): transposed once here rather than in every batch.
        weight = torch.zeros(len(layers), inputs, outputs)
        bias = torch.zeros(len(layers), 1, outputs)
        for row, layer in enumerate(layers):
            if layer is not None:
                weight[row, : layer.in_features, : layer.out_features] = layer.weight.detach().T
                if layer.bias is not None:
                    bias[row, 0, : layer.out_features] = layer.bias.detach()
        self.weight = nn.Parameter(weight)
        has_bias = any(layer.bias is not None for layer in present)
        self.bias = nn.Parameter(bias) if has_bias else None
        self._selection = selection

    def forward(self, states: Tensor) -> Tensor:
        ids = self._selection.ids
        product = torch.matmul(states, self.weight[ids])
        return product if self.bias is None else product + self.bias[ids]


class GatheredLora(nn.Module):
    """The low-rank updates of one linear layer, in the place of one of AdapterHub's."""

    use_dora = False

    def __init__(self, loras: Sequence[LoRA | None], selection: Selection) -> None:
        super().__init__()
        downs = [None if lora is None else _linear(lora.lora_A) for lora in loras]
        # The scale goes into the weights: it may differ between adapters.
        ups = [None if lora is None else _linear(lora.lora_B * lora.scaling) for lora in loras]
        self.adapter_down = GatheredLinear(downs, selection)
        self.adapter_up = GatheredLinear(ups, selection)

    def forward(self, update: None, states: Tensor) -> tuple[Tensor, None]:
        """The update of (rows, tokens, in) states: (rows, tokens, out), and no gate."""
        return self.adapter_up(self.adapter_down(states)), None

    def com(self, output: Tensor, update: Tensor, scaling: float) -> Tensor:
        """The layer's output with the update."""
        return output + update


def _linear(weight: Tensor) -> nn.Linear:
    """A linear layer of these weights (out, in), without a bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.detach())
    return layer


def check_exportable(model: nn.Module, name: str) -> None:
    """TrainingError where adapter `name` has a part that `stack` does not carry, or none at all."""
    found = False
    for path, place, part in parts(model, name):
        found = True
        keys = {key for key, _ in part.named_parameters()}
        if isinstance(place, BottleneckLayer):
            # type() and not isinstance(): a parallel adapter is a subclass.
            fits = type(part) is Adapter and keys == _PLAIN_BOTTLENECK
            wanted = "plain bottleneck adapters"
        elif isinstance(place, ProjectionHeads):
            fits, wanted = isinstance(part, ProjectionHead), "projection heads"
        else:
            plain = isinstance(place, LoRALinear) and not place.fan_in_fan_out
            fits = plain and type(part) is LoRA and keys == {"lora_A", "lora_B"}
            wanted = "plain LoRA updates of linear layers that stand by themselves"
        if not fits:
            raise TrainingError(
                f"{path}: adapter {name} cannot be exported from there, only {wanted} can be"
            )
    if not found:
        raise TrainingError(
            f"adapter {name}: this backbone has no place for its kind; use another kind"
        )


def stack(model: nn.Module, names: Sequence[str]) -> Selection:
    """Replace the adapters `names` by one set whose rows stand in that order; return its selector.

    Raises TrainingError for an adapter with parameters that no gathered layer carries.
    """
    for name in names:
        check_exportable(model, name)
    selection = Selection()
    kept = _stack_layers(model, names, selection)
    for name in names:
        if name not in kept:
            model.delete_adapter(name)  # type: ignore[operator]
    model.set_active_adapters(Stack(*kept) if kept else None)  # type: ignore[operator]
    _stack_heads(heads(model), names, selection)
    model.requires_grad_(False)
    return selection


def _stack_layers(model: nn.Module, names: Sequence[str], selection: Selection) -> list[str]:
    """Put all of each way to compute into one adapter of it; return the names of those."""
    alike = _alike(model, names)
    for members in alike:
        places: dict[nn.Module, dict[str, Any]] = {}
        for name in members:
            for _, place, part in parts(model, name):
                places.setdefault(place, {})[name] = part
        for place, by_name in places.items():
            rows = [by_name.get(name) for name in names]
            if isinstance(place, BottleneckLayer):
                part = by_name[members[0]]
                downs = [None if row is None else row.adapter_down[0] for row in rows]
                ups = [None if row is None else row.adapter_up for row in rows]
                part.adapter_down[0] = GatheredLinear(downs, selection)
                part.adapter_up = GatheredLinear(ups, selection)
            else:
                place.loras[members[0]] = GatheredLora(rows, selection)  # type: ignore[operator, index, assignment]
    return [members[0] for members in alike]


def stack_names(model: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Under which name `stack` puts the weights of each of the adapters `names` of `model`."""
    kept = {name: members[0] for members in _alike(model, names) for name in members}
    return {name: kept.get(name, _STACKED) for name in names}


def _alike(model: nn.Module, names: Sequence[str]) -> list[list[str]]:
    """The adapters in layers, those together that compute alike."""
    found: dict[str, list[str]] = {}
    for name in names:
        config: Any = model.adapters_config.get(name)  # type: ignore[union-attr, operator]
        if config is not None:
            found.setdefault(_computation(config.to_dict()), []).append(name)
    return list(found.values())


def _computation(config: dict[str, Any]) -> str:
    """What an adapter computes, whatever its size: those that are alike in it share a stack."""
    if config.get("architecture") == "lora":
        return "lora"
    return repr(sorted((key, value) for key, value in config.items() if key != "reduction_factor"))


def _stack_heads(found: ProjectionHeads | None, names: Sequence[str], selection: Selection) -> None:
    if found is None:
        return
    by_name = dict(found.items())
    rows: list[Any] = [by_name.get(name) for name in names]
    stacked = next((row for row in rows if row is not None), None)
    found.clear()
    found.active = None
    if stacked is None:
        return
    downs = [None if row is None else row.adapter_down for row in rows]
    ups = [None if row is None else row.adapter_up for row in rows]
    stacked.adapter_down = GatheredLinear(downs, selection)
    stacked.adapter_up = GatheredLinear(ups, selection)
    found[_STACKED] = stacked
    found.active = _STACKED
