"""Adapters on a frozen backbone: attach fresh ones, and choose the one that texts go through."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import adapters
from adapters import (
    AdapterConfig,
    AdapterModelInterface,
    DoubleSeqBnConfig,
    LoRAConfig,
    SeqBnConfig,
)
from adapters.methods.lora import init_lora
from torch import nn

from training.adapters.kinds import (
    REDUCTION_FACTOR,
    Houlsby,
    Kind,
    Lora,
    Pfeiffer,
    Projected,
    Projection,
)
from training.adapters.projection import ProjectionHeads, add_head, heads
from training.adapters.stack import check_exportable
from training.adapters.weights import parameters
from training.errors import TrainingError
from training.student.model import StudentConfig

# How AdapterHub finds its way in an encoder of ours. The adapter behind the feed-forward update
# sees the whole stream, and there is no layer norm there to reuse; the one behind attention, of
# Houlsby's two, sees the update before it is added, as in the paper.
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
# LoRA updates the linear layer itself, which in our encoders lies inside what adapters hook into.
_LINEAR_OUTPUT = {StudentConfig.model_type: "output.dense"}

_ATTENTION_KEYS = {Projected.QUERY: "q", Projected.KEY: "k", Projected.VALUE: "v"}


def attach(model: nn.Module, names: Sequence[str], reduction_factor: float) -> None:
    """Add one fresh Pfeiffer bottleneck per name; else as `attach_kinds`."""
    kind = Pfeiffer(reduction_factor=reduction_factor)
    attach_kinds(model, dict.fromkeys(names, kind))


def attach_kinds(model: nn.Module, kinds: Mapping[str, Kind]) -> None:
    """Add one fresh adapter per name, of its kind. The backbone stays frozen, no adapter is active.

    Raises TrainingError where AdapterHub does not know the model's architecture, where an adapter
    on it could not be exported, or where torch cannot hold a name.
    """
    # It warns of inactive adapters each time one is selected, from inside the selection.
    logging.getLogger("adapters.model_mixin").setLevel(logging.ERROR)
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    interface = _INTERFACES.get(model_type)
    try:
        adapters.init(model, interface=interface)
    except ValueError as error:
        raise TrainingError(f"adapters do not fit this backbone: {error}") from None
    if interface is not None and any(isinstance(kind, Lora) for kind in kinds.values()):
        # Only where LoRA is asked for: wrapping a layer draws random numbers, and recipes without
        # it are to start from the adapters that they always started from.
        model.adapter_interface = replace(
            interface,
            adapter_methods=[*interface.adapter_methods, "lora"],
            layer_output_proj=_LINEAR_OUTPUT[model_type],
        )
        init_lora(model)
    for name, kind in kinds.items():
        _check_name(name)
        if isinstance(kind, Projection):
            width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
            factor = kind.reduction_factor or REDUCTION_FACTOR
            add_head(model, name, width, max(1, int(width // factor)))
        else:
            model.add_adapter(name, _config(kind))  # type: ignore[operator]
    model.requires_grad_(False)
    for name in kinds:
        check_exportable(model, name)


def _check_name(name: str) -> None:
    if "." in name or hasattr(ProjectionHeads(), name):
        raise TrainingError(
            f"adapter {name}: torch keeps modules under their names, and cannot use one with a dot "
            "or that its containers have themselves, like `values`; use another"
        )


def _config(kind: Pfeiffer | Houlsby | Lora) -> AdapterConfig:
    """The kind as AdapterHub writes it."""
    if isinstance(kind, Lora):
        attention = [_ATTENTION_KEYS[each] for each in kind.projections if each in _ATTENTION_KEYS]
        return LoRAConfig(
            r=kind.rank,
            alpha=kind.alpha,
            attn_matrices=attention,
            intermediate_lora=Projected.INTERMEDIATE in kind.projections,
            output_lora=Projected.OUTPUT in kind.projections,
        )
    config = SeqBnConfig if isinstance(kind, Pfeiffer) else DoubleSeqBnConfig
    return config(reduction_factor=kind.reduction_factor or REDUCTION_FACTOR)


def select(model: nn.Module, name: str | None, train: bool = False) -> list[nn.Parameter]:
    """Route the model through adapter `name` (None: the plain backbone) and return its parameters,
    trainable where `train` says so. Nothing else is trainable afterwards.
    """
    model.requires_grad_(False)
    found = heads(model)
    is_head = found is not None and name is not None and name in found
    model.set_active_adapters(None if is_head else name)  # type: ignore[operator]
    if found is not None:
        found.active = name if is_head else None
    if name is None:
        return []
    own = [parameter for _, parameter in parameters(model, name)]
    for parameter in own:
        parameter.requires_grad_(train)
    return own
