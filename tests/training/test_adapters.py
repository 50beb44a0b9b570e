from pathlib import Path

import pytest
import torch
from adapters import SeqBnConfig

from training import adapters
from training.backbone import Backbone
from training.errors import TrainingError

NAMES = ("phrase", "sentence")


def _attached(folder: Path) -> Backbone:
    backbone = Backbone.open(str(folder), half_weights=False)
    torch.manual_seed(3)
    adapters.attach(backbone.model, NAMES, reduction_factor=4)
    for name in NAMES:  # fresh adapters are nearly zero: make them differ for sure
        for parameter in adapters.select(backbone.model, name):
            parameter.data.normal_(std=0.2)
    return backbone


def _states(backbone: Backbone) -> torch.Tensor:
    ids, mask = backbone.pad(backbone.tokenize(["Haus am Fluss", "red house"], 16))
    with torch.no_grad():
        states: torch.Tensor = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


@pytest.mark.parametrize("family", ["bert_folder", "xlmr_folder"])
def test_only_the_selected_adapter_trains_and_the_backbone_never(
    family: str, request: pytest.FixtureRequest
) -> None:
    backbone = _attached(request.getfixturevalue(family))
    adapters.select(backbone.model, "phrase", train=True)
    trainable = [name for name, p in backbone.model.named_parameters() if p.requires_grad]
    assert trainable
    assert all(".adapters.phrase." in name for name in trainable)
    assert len(trainable) == 2 * 4  # two layers, two projections of weight and bias each
    adapters.select(backbone.model, "phrase")
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_no_adapter_is_the_plain_backbone_and_each_adapter_differs(bert_folder: Path) -> None:
    plain = _states(Backbone.open(str(bert_folder), half_weights=False))
    backbone = _attached(bert_folder)
    adapters.select(backbone.model, None)
    assert torch.equal(_states(backbone), plain)
    seen = [plain]
    for name in NAMES:
        adapters.select(backbone.model, name)
        states = _states(backbone)
        assert all((states - other).abs().max() > 1e-2 for other in seen)
        seen.append(states)


def test_an_adapter_whose_up_projection_is_zero_is_the_plain_backbone(bert_folder: Path) -> None:
    # What `training.evaluation.embedder.without_adapters` rests on.
    backbone = _attached(bert_folder)
    zeroed = {
        key: torch.zeros_like(value) if ".adapter_up." in f".{key}" else value
        for key, value in adapters.weights(backbone.model, "phrase").items()
    }
    adapters.load_weights(backbone.model, "phrase", zeroed)
    adapters.select(backbone.model, "phrase")
    plain = _states(Backbone.open(str(bert_folder), half_weights=False))
    assert torch.allclose(_states(backbone), plain, atol=1e-6)


def test_weights_round_trip_through_a_file_and_refuse_another_shape(
    bert_folder: Path, tmp_path: Path
) -> None:
    backbone = _attached(bert_folder)
    values = adapters.weights(backbone.model, "phrase")
    adapters.save(tmp_path / "a.safetensors", values)
    adapters.load_weights(backbone.model, "sentence", adapters.load(tmp_path / "a.safetensors"))
    for key, value in adapters.weights(backbone.model, "sentence").items():
        assert torch.equal(value, values[key])
    other = Backbone.open(str(bert_folder), half_weights=False)
    adapters.attach(other.model, NAMES, reduction_factor=8)
    with pytest.raises(TrainingError, match="another backbone or reduction factor"):
        adapters.load_weights(other.model, "phrase", values)


@pytest.mark.parametrize("family", ["bert_folder", "xlmr_folder"])
def test_stacked_rows_are_what_each_adapter_alone_gives(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    alone = _attached(folder)
    expected = []
    for name in NAMES:
        adapters.select(alone.model, name)
        expected.append(_states(alone))
    stacked = _attached(folder)
    selection = adapters.stack(stacked.model, NAMES)
    for ids in ([0, 0], [1, 1], [0, 1], [1, 0]):
        selection.ids = torch.tensor(ids)
        states = _states(stacked)
        for row, adapter in enumerate(ids):
            assert torch.allclose(states[row], expected[adapter][row], atol=1e-6)


def test_an_adapter_with_parts_that_no_gathered_layer_carries_is_refused(
    bert_folder: Path,
) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    adapters.attach(backbone.model, ["phrase"], reduction_factor=4)
    backbone.model.add_adapter("gated", SeqBnConfig(reduction_factor=4, use_gating=True))  # type: ignore[operator]
    with pytest.raises(TrainingError, match="only plain bottleneck adapters"):
        adapters.stack(backbone.model, ["phrase", "gated"])
