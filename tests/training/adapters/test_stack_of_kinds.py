"""Adapters of every kind in one stack and one graph, against each alone in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tests.tiny_training import LANGUAGES, sentence
from training import adapters
from training.adapters.kinds import Houlsby, Kind, Lora, Pfeiffer, Projected, Projection, averaged
from training.backbone import Backbone
from training.errors import TrainingError
from training.evaluation.embedder import without_adapters
from training.export import StackedEncoder, write_graph
from training.inference import open_session
from training.parity import encode_alone

# Kinds, widths, ranks, scales and projections, none like the one before it.
MIXED: dict[str, Kind] = {
    "head": Projection(reduction_factor=2),
    "narrow": Pfeiffer(reduction_factor=16),
    "value": Lora(rank=2, alpha=6, projections=(Projected.VALUE, Projected.OUTPUT)),
    "two": Houlsby(reduction_factor=8),
    "wide": Pfeiffer(reduction_factor=2),
    "all": Lora(rank=5, alpha=1, projections=tuple(Projected)),
    "small-head": Projection(reduction_factor=32),
    "one-more": Houlsby(reduction_factor=4),
}
ALONE: dict[str, dict[str, Kind]] = {
    "pfeiffer": dict.fromkeys("ab", Pfeiffer(reduction_factor=4)),
    "houlsby": dict.fromkeys("ab", Houlsby(reduction_factor=4)),
    "lora": dict.fromkeys("ab", Lora(rank=2)),
    "projection": dict.fromkeys("ab", Projection(reduction_factor=4)),
}
TEXTS = [sentence(LANGUAGES[number], number, 1 + number) for number in range(8)]


def _attached(folder: Path, kinds: Mapping[str, Kind]) -> Backbone:
    backbone = Backbone.open(str(folder), half_weights=False, attention="eager")
    torch.manual_seed(3)
    adapters.attach_kinds(backbone.model, kinds)
    for name in kinds:
        for parameter in adapters.select(backbone.model, name):
            nn.init.normal_(parameter, std=0.2)
    return backbone


def _batch(backbone: Backbone, count: int) -> tuple[list[list[int]], dict[str, np.ndarray]]:
    """Eight texts, each with adapter after adapter, and their ids without padding."""
    rows = [row for row in backbone.tokenize(TEXTS, 16) for _ in range(count)]
    ids, mask = backbone.pad(rows)
    adapter_ids = np.tile(np.arange(count), len(TEXTS))
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "adapter_ids": adapter_ids}
    return rows, feed


def _check(
    reference: Backbone,
    names: list[str],
    rows: list[list[int]],
    embedding: np.ndarray,
    tokens: np.ndarray,
) -> None:
    for place, row in enumerate(rows):
        adapters.select(reference.model, names[place % len(names)])
        vector, states = encode_alone(reference, row)
        np.testing.assert_allclose(embedding[place], vector, atol=1e-6)
        np.testing.assert_allclose(tokens[place, : len(row)], states, atol=1e-5)


@pytest.mark.parametrize("kinds", [*ALONE.values(), MIXED], ids=[*ALONE, "mixed"])
@pytest.mark.parametrize("family", ["bert_folder", "xlmr_folder", "student_folder"])
def test_each_row_of_a_mixed_batch_is_what_its_adapter_alone_gives(
    family: str, kinds: dict[str, Kind], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    stacked = _attached(folder, kinds)
    encoder = StackedEncoder(stacked.model, adapters.stack(stacked.model, list(kinds))).eval()
    rows, feed = _batch(stacked, len(kinds))
    with torch.no_grad():
        embedding, tokens = encoder(*map(torch.from_numpy, feed.values()))
    _check(_attached(folder, kinds), list(kinds), rows, embedding.numpy(), tokens.numpy())


@pytest.mark.parametrize("kinds", [*ALONE.values(), MIXED], ids=[*ALONE, "mixed"])
@pytest.mark.parametrize("family", ["bert_folder", "student_folder"])
def test_the_graph_does_the_same_and_holds_the_plain_backbone(
    family: str, kinds: dict[str, Kind], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(family)
    stacked = _attached(folder, kinds)
    encoder = StackedEncoder(stacked.model, adapters.stack(stacked.model, list(kinds))).eval()
    write_graph(encoder, stacked, len(kinds), tmp_path / "g.onnx", half=False)
    graph = onnx.load(str(tmp_path / "g.onnx"))
    rows, feed = _batch(stacked, len(kinds))
    embedding, tokens = open_session(graph.SerializeToString(), 1).run(
        ["embedding", "tokens"], feed
    )
    reference = _attached(folder, kinds)
    _check(reference, list(kinds), rows, embedding, tokens)
    # The format's promise, which no kind may break: pooling the tokens gives the embedding.
    mask = feed["attention_mask"][:, :, None]
    mean = (tokens * mask).sum(1) / mask.sum(1)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(embedding, mean, atol=1e-5)

    plain = open_session(without_adapters(graph).SerializeToString(), 1)
    adapters.select(reference.model, None)
    for output in plain.run(["tokens"], feed):
        for place, row in enumerate(rows):
            _, states = encode_alone(reference, row)
            np.testing.assert_allclose(output[place, : len(row)], states, atol=1e-5)


@pytest.mark.parametrize("family", ["bert_folder", "student_folder"])
def test_an_average_of_low_ranks_is_the_backbone_with_the_mean_of_their_updates(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    kind = Lora(rank=2, alpha=6, projections=tuple(Projected))
    adapted = _attached(folder, {"a": kind, "b": kind, "mean": averaged(kind, 2)})
    members = [adapters.weights(adapted.model, name) for name in "ab"]
    mean = adapters.average(members, [0.25, 0.75])
    adapters.load_weights(adapted.model, "mean", mean)
    adapters.select(adapted.model, "mean")

    merged = Backbone.open(str(folder), half_weights=False, attention="eager")
    linear = dict(merged.model.named_modules())
    for path in {key.rpartition(".lora_")[0] for key in mean}:
        layer = linear[path]
        assert isinstance(layer, nn.Linear)
        for share, values in zip([0.25, 0.75], members, strict=True):
            update = values[f"{path}.lora_B"] @ values[f"{path}.lora_A"]
            layer.weight.data += share * 6 / 2 * update
    for row in merged.tokenize(TEXTS, 16):
        for one, other in zip(encode_alone(adapted, row), encode_alone(merged, row), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_no_stack_carries_is_refused_when_it_is_attached(
    bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    # As on an architecture whose layers AdapterHub does not wrap.
    monkeypatch.setattr("adapters.methods.lora.LoRALinear.add_adapter", lambda *_: False)
    with pytest.raises(TrainingError, match="adapter a: this backbone has no place for its kind"):
        adapters.attach_kinds(backbone.model, {"a": Lora()})


@pytest.mark.parametrize("name", ["values", "active", "forward", "mini-1.0"])
def test_a_name_that_torch_cannot_hold_is_refused(student_folder: Path, name: str) -> None:
    backbone = Backbone.open(str(student_folder), half_weights=False)
    with pytest.raises(TrainingError, match=f"adapter {name}: torch keeps modules"):
        adapters.attach_kinds(backbone.model, {name: Pfeiffer()})
