from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny_training import RecipeWriter
from training import adapters, trainer
from training.backbone import Backbone
from training.errors import TrainingError
from training.objectives import info_nce
from training.recipe import AdapterRecipe, Recipe
from training.run import read_run
from training.trainer import Corpus, embed, finished_adapter, learning_rate, train

PLAN = AdapterRecipe.model_validate(
    {
        "granularity": "phrase",
        "max_tokens": 8,
        "steps": 100,
        "batch_pairs": 4,
        "learning_rate": 0.5,
        "warmup_steps": 10,
    }
)


def _metrics(run: Path, adapter: str) -> list[dict[str, float]]:
    lines = (run / adapter / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_rate_rises_then_falls_along_a_cosine_to_zero() -> None:
    rates = [learning_rate(step, PLAN) for step in range(101)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[55] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_chunks_change_no_vector(bert_folder: Path) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    texts = ["Haus", "red house by the river", "a", "old stone bridge " * 4, "Brief und Garten"]
    rows = backbone.tokenize(texts, 32)
    with torch.no_grad():
        alone = torch.cat([embed(backbone, [row], 10_000, False) for row in rows])
        for chunk_tokens in (1, 12, 40, 10_000):
            together = embed(backbone, rows, chunk_tokens, False)
            assert torch.allclose(together, alone, atol=1e-5)


def test_every_adapter_learns_and_leaves_its_files(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    recipe = Recipe.read(write_recipe(bert_folder, steps=81))
    train(recipe, corpus, run)
    for name in ("phrase", "sentence", "paragraph"):
        metrics = _metrics(run, name)
        assert [line["step"] for line in metrics] == list(range(0, 81, 10))
        # Seeds 0 to 5 end 0.5 to 2.5 lower.
        assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.3
        assert finished_adapter(run, name).exists()
        assert not (run / name / "checkpoint.pt").exists()
    record = read_run(run)
    assert Recipe.model_validate(record["recipe"]) == recipe
    assert record["pairs.sentence"]["ja"] == 59  # 60 but for the one planted in the test set


_KILLED_AT_STEP_4 = """
import os, signal, sys
from pathlib import Path
from training import stage, trainer
from training.recipe import Recipe

stage.CHECKPOINT_EVERY_S = -1e9  # after every step
rate = trainer.learning_rate
def cut(step, plan):
    if step == 4 and plan.granularity == "sentence":
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(step, plan)
trainer.learning_rate = cut
recipe, corpus, evaluation, run = map(Path, sys.argv[1:])
trainer.train(Recipe.read(recipe), trainer.Corpus(corpus, evaluation), run)
"""


def test_a_run_killed_in_the_middle_ends_where_an_unbroken_one_does(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=8)
    train(Recipe.read(file), corpus, tmp_path / "unbroken")
    arguments = [file, corpus.path, corpus.evaluation, tmp_path / "cut"]
    process = subprocess.run(
        [sys.executable, "-c", _KILLED_AT_STEP_4, *map(str, arguments)],
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert finished_adapter(tmp_path / "cut", "phrase").exists()
    saved = torch.load(tmp_path / "cut" / "sentence" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 4
    phrase_written = os.stat(finished_adapter(tmp_path / "cut", "phrase")).st_mtime_ns
    train(Recipe.read(file), corpus, tmp_path / "cut")
    assert os.stat(finished_adapter(tmp_path / "cut", "phrase")).st_mtime_ns == phrase_written
    for name in ("phrase", "sentence", "paragraph"):
        unbroken, resumed = (
            adapters.load(finished_adapter(tmp_path / run, name)) for run in ("unbroken", "cut")
        )
        for key, value in unbroken.items():
            assert torch.allclose(resumed[key], value, atol=1e-5), (name, key)
    assert [line["step"] for line in _metrics(tmp_path / "cut", "sentence")] == [0, 7]


def test_a_run_belongs_to_its_recipe_corpus_and_test_sets(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    recipe = Recipe.read(write_recipe(bert_folder, steps=2))
    train(recipe, corpus, run)
    with pytest.raises(TrainingError, match="made with another recipe; use a new folder"):
        train(Recipe.read(write_recipe(bert_folder, steps=3)), corpus, run)
    other = shutil.copytree(corpus.path, tmp_path / "corpus")
    (other / "more.pairs.tsv").write_text("")
    with pytest.raises(TrainingError, match="made with another corpus_sha256; use"):
        train(recipe, Corpus(other, corpus.evaluation), run)
    with pytest.raises(TrainingError, match="made with another evaluation_sha256; use"):
        train(recipe, Corpus(corpus.path, other), run)


def test_a_loss_that_is_no_number_stops_the_run(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "info_nce", lambda *args: info_nce(*args) * math.nan)
    with pytest.raises(TrainingError, match="the loss is nan at step 0"):
        train(
            Recipe.read(write_recipe(bert_folder, steps=2)),
            corpus,
            tmp_path / "run",
        )


def test_an_adapter_longer_than_the_backbone_is_refused(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder)
    file.write_text(file.read_text().replace("max_tokens = 48", "max_tokens = 65"))
    with pytest.raises(TrainingError, match=r"max_tokens is 65; .* takes at most 64"):
        train(Recipe.read(file), corpus, tmp_path / "run")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 6", "steps = 0", "adapters.phrase.steps"),
        ('["de"', '["en"', "without en, which all pair with"),
        ("half_weights", "halve_weights", "halve_weights: Extra inputs"),
        ('granularity = "phrase"', 'granularity = "word"', "granularity word has no pairs"),
        ("temperature = 0.05", 'start_from = "paragraph"', "which is not trained before"),
        ("steps = 6", "steps = ", "cannot be read"),
    ],
)
def test_a_wrong_recipe_is_refused_by_field(
    old: str, new: str, message: str, bert_folder: Path, write_recipe: RecipeWriter
) -> None:
    file = write_recipe(bert_folder)
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(TrainingError, match=message):
        Recipe.read(file)
