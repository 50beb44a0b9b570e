"""One sentence encoder in the forms that each server opens: the same weights for all.

Runs in this repository's environment with the extra `training`; what it writes needs none of it.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models import bundle
from models.precision import Precision
from training.adapters.stack import Selection
from training.backbone import Backbone
from training.export import GRAPH_NAME, OPSET, StackedEncoder, write_graph

# What peers find in their folder; a safetensors file beside an ONNX one would only confuse them.
_TORCH_WEIGHTS = "model.safetensors"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def make(source: Path, into: Path) -> None:
    """From a sentence-transformers folder write `into`/torch, /onnx and /bundle.

    `source` must be a BERT-like encoder with mean pooling. All three cut a text at the same number
    of tokens, the source's `max_seq_length`. Raises FileExistsError where `into` exists.
    """
    max_tokens = int(_read(source / "sentence_bert_config.json")["max_seq_length"])
    into.mkdir(parents=True)
    backbone = Backbone.open(str(source), half_weights=False, attention="eager")
    shutil.copytree(source, into / "torch")
    _limit_tokens(into / "torch", max_tokens)
    _write_for_peers(source, backbone, into / "onnx", max_tokens)
    _write_bundle(backbone, into / "bundle", max_tokens)


def _read(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def _limit_tokens(folder: Path, max_tokens: int) -> None:
    """Say `max_tokens` where fastembed and transformers look for it."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**_read(file), "model_max_length": max_tokens}), encoding="utf-8")


class _LastHiddenState(nn.Module):
    """An encoder with the inputs and the output that ONNX exports of it commonly have."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Three of (rows, tokens) → (rows, tokens, dim)."""
        states: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        return states


def _write_for_peers(source: Path, backbone: Backbone, target: Path, max_tokens: int) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(_TORCH_WEIGHTS))
    _limit_tokens(target, max_tokens)
    # infinity's optimum engine takes this number for the limit. The graph keeps all positions.
    config = target / "config.json"
    config.write_text(json.dumps({**_read(config), "max_position_embeddings": max_tokens}))
    ids, mask = backbone.pad(backbone.tokenize(["one text", "another, rather longer, text"], 16))
    with warnings.catch_warnings(), torch.no_grad():
        # As in `training.export`: the tracer warns of every Python branch in the library.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _LastHiddenState(backbone.model).eval(),
            (ids, mask, torch.zeros_like(ids)),
            str(target / "model.onnx"),
            input_names=list(_INPUTS),
            output_names=["last_hidden_state"],
            dynamic_axes={
                name: {0: "batch", 1: "tokens"} for name in (*_INPUTS, "last_hidden_state")
            },
            opset_version=OPSET,
            dynamo=False,
        )


def _add_adapter_input(graph: Path) -> None:
    """Name the input that the format asks for; without adapters nothing takes it, and the exporter
    leaves it out."""
    model = onnx.load(str(graph))
    ids = helper.make_tensor_value_info("adapter_ids", TensorProto.INT64, ["batch"])
    model.graph.input.append(ids)
    onnx.save(model, str(graph))


def _write_bundle(backbone: Backbone, target: Path, max_tokens: int) -> None:
    """A bundle whose one adapter is none: its graph is the plain encoder, masked mean and norm."""
    encoder = StackedEncoder(backbone.model, Selection()).eval()
    graph = target.with_suffix(".onnx")
    write_graph(encoder, backbone, 1, graph, half=False)
    _add_adapter_input(graph)
    manifest = {
        "name": "plain",
        "version": "1.0.0",
        "dimension": backbone.dimension,
        "vocabulary_size": backbone.tokenizer.get_vocab_size(),
        "languages": ("en",),
        "pooling": bundle.Pooling.MEAN,
        "adapters": [
            {"name": "none", "granularity": "sentence", "row": 0, "max_tokens": max_tokens}
        ],
        "routing": dict.fromkeys(bundle.TEXT_GRANULARITIES, "none"),
        "comparable": [],
        "graphs": {Precision.FLOAT32: GRAPH_NAME},
        "fidelity": {},
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": backbone.pad_token_id},
        "model_card": "MODEL_CARD.md",
        "provenance": {"made_by": "benchmarks.serve"},
        "scores": {},
        "calibration": None,
    }
    files: dict[str, Path | bytes] = {
        GRAPH_NAME: graph,
        "tokenizer.json": backbone.tokenizer.to_str().encode(),
        "MODEL_CARD.md": b"# plain\n\nAn encoder without adapters, for benchmarks only.\n",
    }
    bundle.write(target, manifest, files)
    graph.unlink()
