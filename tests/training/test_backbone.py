import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from training.backbone import Backbone, masked_mean
from training.errors import TrainingError


def test_masked_mean_leaves_padding_out() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 5, 4))
    lengths = (1, 3, 5)
    mask = np.array([[1] * n + [0] * (5 - n) for n in lengths])
    pooled = masked_mean(torch.tensor(states), torch.tensor(mask)).numpy()
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(pooled[row], states[row, :n].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("family", "positions", "pad"), [("bert_folder", 64, 0), ("xlmr_folder", 64, 1)]
)
def test_the_families_differ_in_padding_and_positions(
    family: str, positions: int, pad: int, request: pytest.FixtureRequest
) -> None:
    backbone = Backbone.open(str(request.getfixturevalue(family)), half_weights=False)
    assert (backbone.max_positions, backbone.pad_token_id) == (positions, pad)
    assert backbone.dimension == 32
    # The longest input that is promised really runs.
    ids, mask = backbone.pad([[5] * positions])
    backbone.model(input_ids=ids, attention_mask=mask)


def test_tokenize_cuts_to_the_limit_and_keeps_the_special_tokens(bert_folder: Path) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    full, cut = (backbone.tokenize(["red house by the river"], n)[0] for n in (64, 5))
    assert len(cut) == 5
    assert len(full) > 5
    assert cut == [*full[:4], full[-1]]
    # The limit of one call does not stay for the next.
    assert backbone.tokenize(["red house by the river"], 64)[0] == full


def test_padding_reaches_the_longest_row_or_the_width_asked_for(xlmr_folder: Path) -> None:
    backbone = Backbone.open(str(xlmr_folder), half_weights=False)
    ids, mask = backbone.pad([[7, 8, 9], [7]])
    assert ids.tolist() == [[7, 8, 9], [7, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert backbone.pad([[7]], to=4)[0].tolist() == [[7, 1, 1, 1]]


def test_half_weights_are_exactly_what_float16_holds(bert_folder: Path) -> None:
    whole = dict(Backbone.open(str(bert_folder), half_weights=False).model.named_parameters())
    half = dict(Backbone.open(str(bert_folder), half_weights=True).model.named_parameters())
    assert any(not torch.equal(whole[key], half[key]) for key in whole)
    for key, value in half.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, whole[key].half().float())


def test_a_weight_beyond_float16_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "huge"
    shutil.copytree(bert_folder, folder)
    model = Backbone.open(str(folder), half_weights=False).model
    next(model.parameters()).data[0, 0] = 1e6
    model.save_pretrained(folder)  # type: ignore[operator]
    with pytest.raises(TrainingError, match="does not fit float16"):
        Backbone.open(str(folder), half_weights=True)


def test_a_folder_without_an_encoder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no encoder at") as refusal:
        Backbone.open(str(tmp_path), half_weights=False)
    assert "\n" not in str(refusal.value)
