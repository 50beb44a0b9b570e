"""The whole way from a teacher and a table to a backbone that adapters train on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tests.tiny_training import LANGUAGES
from training.backbone import Backbone, masked_mean
from training.errors import TrainingError
from training.stage import Stopped
from training.student import context
from training.student.build import build_backbone
from training.student.recipe import BackboneRecipe, ContextRecipe
from training.student.schedule import rate


@pytest.fixture
def recipe(bert_folder: Path) -> BackboneRecipe:
    """A student of two layers and 400 tokens."""
    values = {
        "teacher": str(bert_folder),
        "teacher_max_tokens": 24,
        "languages": ["en", *LANGUAGES[:6]],
        "further_languages": [*LANGUAGES[6:]],
        "max_tokens": 24,
        "vocabulary": {"size": 400, "characters": 4000, "further_characters": 2000},
        "static": {
            "steps": 40,
            "batch_pairs": 24,
            "warmup_steps": 2,
            "validation_pairs": 2,
            "validation_every": 20,
        },
        "context": {
            "steps": 12,
            "batch_pairs": 16,
            "warmup_steps": 2,
            "validation_pairs": 2,
            "validation_every": 6,
            "layers": 2,
            "heads": 2,
            "feed_forward": 32,
            "chunk_tokens": 64,
            "max_tokens": 24,
            "matrix_learning_rate": 0.01,
            "precision": "float32",
        },
        "seed": 3,
    }
    return BackboneRecipe.model_validate(values)


@pytest.fixture(autouse=True)
def more_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny table has too few units for one in 200."""
    monkeypatch.setattr("training.student.data._ONE_IN", 10)


def _metrics(run: Path, stage: str) -> list[dict[str, float]]:
    lines = (run / stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _embed(folder: Path, text: str) -> torch.Tensor:
    backbone = Backbone.open(str(folder), half_weights=False)
    ids, mask = backbone.pad(backbone.tokenize([text], 24))
    with torch.no_grad():
        states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return normalize(masked_mean(states, mask), dim=1)


def test_both_stages_learn_and_the_backbone_opens(
    recipe: BackboneRecipe, clean_table: Path, tmp_path: Path
) -> None:
    folder = build_backbone(recipe, clean_table, tmp_path / "run")
    static, layers = (_metrics(tmp_path / "run", stage) for stage in ("static", "context"))
    assert static[-2]["loss"] < static[0]["loss"] / 2
    # Fresh layers add nothing: the second stage begins where the first one ended.
    assert layers[0]["loss"] < static[0]["loss"] / 2
    assert layers[0]["validation_accuracy"] == static[-1]["validation_accuracy"]
    backbone = Backbone.open(str(folder), half_weights=False)
    assert backbone.dimension == 32
    assert backbone.pad_token_id == 0
    assert backbone.tokenize(["a"], 24)[0][0] == 2
    assert backbone.model.config.rotated is True  # type: ignore[union-attr]
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record == json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert set(record["stages"]) == {"static", "context"}
    assert record["shares"]["de"] > record["shares"][LANGUAGES[-1]]
    table = np.load(tmp_path / "run" / "static" / "table.npy")
    assert not table[:3].any()
    assert torch.isfinite(_embed(folder, "")).all()


def test_a_stopped_build_goes_on_to_the_same_weights(
    recipe: BackboneRecipe, clean_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_backbone(recipe, clean_table, tmp_path / "whole")
    real, calls = rate, 0

    def cut(step: int, plan: ContextRecipe) -> float:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Stopped("as a signal would")
        return real(step, plan)

    monkeypatch.setattr("training.stage.CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(context, "rate", cut)
    with pytest.raises(Stopped):
        build_backbone(recipe, clean_table, tmp_path / "cut")
    assert not (tmp_path / "cut" / "context" / "backbone").exists()
    resumed = build_backbone(recipe, clean_table, tmp_path / "cut")
    torch.testing.assert_close(
        _embed(resumed, "a quiet house"), _embed(whole, "a quiet house"), rtol=0, atol=1e-6
    )


def test_a_table_that_kept_nothing_out_is_refused(
    recipe: BackboneRecipe, entity_table: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="--no-evaluation"):
        build_backbone(recipe, entity_table, tmp_path / "run")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_build_on_cuda_learns_as_on_the_cpu(
    recipe: BackboneRecipe, clean_table: Path, tmp_path: Path
) -> None:
    for device in ("cpu", "cuda"):
        build_backbone(recipe, clean_table, tmp_path / device, torch.device(device))
    losses = [_metrics(tmp_path / device, "context")[-2]["loss"] for device in ("cpu", "cuda")]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
