"""The weights of one adapter: found in a model, set, written to a file, averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.adapters.projection import ProjectionHeads
from training.errors import TrainingError

Weights = dict[str, Tensor]


def parts(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Where adapter `name` has a part of itself: path and module of the place, and the part."""
    for path, module in model.named_modules():
        held: nn.ModuleDict
        if isinstance(module, BottleneckLayer):
            held = module.adapters
        elif isinstance(module, LoRALayer):
            held = module.loras
        elif isinstance(module, ProjectionHeads):
            held = module
        else:
            continue
        if name in held:
            yield path, module, held[name]


def parameters(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of adapter `name`, keyed without its name."""
    for path, _, part in parts(model, name):
        for key, parameter in part.named_parameters():
            yield f"{path}.{key}", parameter


def weights(model: nn.Module, name: str) -> Weights:
    """The weights of adapter `name`, keyed without its name."""
    return {key: parameter.detach().clone() for key, parameter in parameters(model, name)}


def load_weights(model: nn.Module, name: str, values: Mapping[str, Tensor]) -> None:
    """Set the weights of adapter `name`; TrainingError where they are another architecture's."""
    own = dict(parameters(model, name))
    if {key: tuple(own[key].shape) for key in own} != {
        key: tuple(values[key].shape) for key in values
    }:
        raise TrainingError(
            f"the weights given for adapter {name} belong to another backbone or reduction factor, "
            "or are of another kind"
        )
    for key, parameter in own.items():
        parameter.data.copy_(values[key])


def save(path: Path, values: Mapping[str, Tensor]) -> None:
    """Write adapter weights as safetensors."""
    save_file({key: value.contiguous() for key, value in values.items()}, path)


def load(path: Path) -> Weights:
    """Read what `save` wrote."""
    return load_file(path)


def average(members: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> Weights:
    """One adapter from several of one kind: Σ shares[i] · members[i].

    Bottlenecks and heads: the mean of their weights (AdapterSoup, Chronopoulou et al., 2023), which
    is an adapter like them where they started from the same weights, and little where they did
    not. LoRA: the mean of their updates B A, exactly, by standing side by side; so its rank is the
    sum of theirs (`kinds.averaged`).

    Raises TrainingError where the members differ in shape or kind.
    """
    if not members or len(members) != len(shares):
        raise ValueError(f"{len(members)} adapters and {len(shares)} shares: give one for each")
    shapes = [{key: tuple(value.shape) for key, value in each.items()} for each in members]
    if any(shape != shapes[0] for shape in shapes):
        raise TrainingError("adapters of different kind, shape or backbone cannot be averaged")
    result: Weights = {}
    for key in members[0]:
        values = [each[key] for each in members]
        if key.endswith("lora_A"):
            result[key] = torch.cat(values, dim=0)  # (rank, in)
        elif key.endswith("lora_B"):
            scaled = [share * value for share, value in zip(shares, values, strict=True)]
            result[key] = torch.cat(scaled, dim=1)  # (out, rank)
        else:
            mean = sum(share * value.double() for share, value in zip(shares, values, strict=True))
            result[key] = torch.as_tensor(mean).to(values[0].dtype)
    return result
