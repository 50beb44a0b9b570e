"""What each kind computes, against the same written by hand on the plain backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tests.tiny_training import sentence
from training import adapters
from training.adapters.kinds import Houlsby, Kind, Lora, Pfeiffer, Projected, Projection
from training.backbone import Backbone, masked_mean

FAMILIES = ("bert_folder", "xlmr_folder", "student_folder")
EVERYWHERE = tuple(Projected)
# Hidden size, layers, inner width of the tiny encoders.
D, LAYERS, INNER = 32, 2, 64
TEXTS = [sentence("de", 3, 6), sentence("en", 1, 2)]


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def _with(folder: Path, kind: Kind, randomly: bool = True) -> Backbone:
    """A backbone whose one adapter, `a`, is selected."""
    backbone = Backbone.open(str(folder), half_weights=False)
    torch.manual_seed(2)
    adapters.attach_kinds(backbone.model, {"a": kind})
    for parameter in adapters.select(backbone.model, "a"):
        if randomly:
            nn.init.normal_(parameter, std=0.2)
    return backbone


def _run(backbone: Backbone) -> tuple[Tensor, Tensor]:
    ids, mask = backbone.pad(backbone.tokenize(TEXTS, 16))
    with torch.no_grad():
        states: Tensor = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return states, mask


def _count(kind: Kind) -> int:
    """How many weights an adapter of `kind` has, by the formula of its docstring."""
    if isinstance(kind, Lora):
        sides = dict.fromkeys(EVERYWHERE, 2 * D)
        sides |= dict.fromkeys((Projected.INTERMEDIATE, Projected.OUTPUT), D + INNER)
        return LAYERS * kind.rank * sum(sides[each] for each in kind.projections)
    assert kind.reduction_factor is not None
    width = int(D // kind.reduction_factor)
    one = 2 * D * width + width + D
    return one * {"pfeiffer": LAYERS, "houlsby": 2 * LAYERS, "projection": 1}[kind.name]


@pytest.mark.parametrize(
    "kind",
    [
        Pfeiffer(reduction_factor=4),
        Houlsby(reduction_factor=8),
        Lora(rank=3),
        Lora(rank=2, projections=EVERYWHERE),
        Lora(rank=2, projections=(Projected.OUTPUT,)),
        Projection(reduction_factor=2),
    ],
    ids=lambda kind: kind.name,
)
def test_an_adapter_has_as_many_weights_as_its_formula_and_they_alone_train(
    folder: Path, kind: Kind
) -> None:
    backbone = _with(folder, kind)
    own = adapters.select(backbone.model, "a", train=True)
    assert sum(parameter.numel() for parameter in own) == _count(kind)
    trainable = [each for each in backbone.model.parameters() if each.requires_grad]
    assert {id(each) for each in trainable} == {id(each) for each in own}
    adapters.select(backbone.model, None)
    assert torch.equal(_run(backbone)[0], _run(Backbone.open(str(folder), False))[0])


@pytest.mark.parametrize(
    "kind", [Lora(projections=EVERYWHERE), Projection(reduction_factor=2)], ids=["lora", "head"]
)
def test_fresh_updates_and_heads_are_the_plain_backbone(folder: Path, kind: Kind) -> None:
    plain, _ = _run(Backbone.open(str(folder), half_weights=False))
    assert torch.equal(_run(_with(folder, kind, randomly=False))[0], plain)
    assert (_run(_with(folder, kind))[0] - plain).abs().max() > 1e-2


def test_a_head_gives_v_plus_its_bottleneck_of_v_and_moves_all_tokens_alike(folder: Path) -> None:
    plain, mask = _run(Backbone.open(str(folder), half_weights=False))
    backbone = _with(folder, Projection(reduction_factor=2))
    states, _ = _run(backbone)
    down, b, up, c = adapters.weights(backbone.model, "a").values()
    vector = masked_mean(plain, mask)
    wanted = torch.relu(vector @ down.T + b) @ up.T + c
    torch.testing.assert_close(masked_mean(states, mask), vector + wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(states - plain, wanted[:, None].expand_as(plain))


def test_lora_is_the_backbone_with_its_update_added_to_the_weights(folder: Path) -> None:
    kind = Lora(rank=3, alpha=5, projections=EVERYWHERE)
    adapted = _with(folder, kind)
    merged = Backbone.open(str(folder), half_weights=False)
    values = adapters.weights(adapted.model, "a")
    linear = dict(merged.model.named_modules())
    paths = {key.rpartition(".lora_")[0] for key in values}
    assert len(paths) == LAYERS * 5
    for path in paths:
        layer = linear[path]
        assert isinstance(layer, nn.Linear)
        update = values[f"{path}.lora_B"] @ values[f"{path}.lora_A"]
        layer.weight.data += 5 / 3 * update
    torch.testing.assert_close(_run(adapted)[0], _run(merged)[0], atol=1e-5, rtol=1e-5)


def test_in_a_student_the_first_of_two_sees_the_attention_and_the_second_the_stream(
    student_folder: Path,
) -> None:
    adapted = _with(student_folder, Houlsby(reduction_factor=4))
    values = adapters.weights(adapted.model, "a")
    by_hand = Backbone.open(str(student_folder), half_weights=False)

    def bottleneck(path: str) -> Any:  # noqa: ANN401 - a hook
        parts = ("adapter_down.0.weight", "adapter_down.0.bias", "adapter_up.weight")
        down, b, up = (values[f"{path}.{part}"] for part in parts)
        c = values[f"{path}.adapter_up.bias"]
        return lambda module, inputs, x: x + silu(x @ down.T + b) @ up.T + c

    layers: Any = by_hand.model.encoder.layer  # type: ignore[union-attr]
    for number, layer in enumerate(layers):
        own = f"encoder.layer.{number}"
        layer.attention.output.register_forward_hook(bottleneck(f"{own}.attention_adapters"))
        layer.output.register_forward_hook(bottleneck(f"{own}.output_adapters"))
    torch.testing.assert_close(_run(adapted)[0], _run(by_hand)[0], atol=1e-5, rtol=1e-5)
