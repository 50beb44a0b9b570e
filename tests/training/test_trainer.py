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

from models.bundle import Granularity
from tests.tiny_training import RecipeWriter
from training import adapters, data, validation
from training.backbone import Backbone, masked_mean
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import PairSampler, load_pairs
from training.corpora.tsv import Pair
from training.data import Loader
from training.errors import TrainingError
from training.objectives.contrastive import info_nce
from training.recipe import Recipe
from training.run import read_run
from training.terms import vectors
from training.trainer import Corpus, finished_adapter, train


def _metrics(run: Path, adapter: str) -> list[dict[str, float]]:
    lines = (run / adapter / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


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


_CUT_AT_STEP_4 = """
import os, sys
from training import cli, contrastive, stage

stage.CHECKPOINT_EVERY_S = -1e9  # after every step
number = int(sys.argv.pop(1))
rate = contrastive.learning_rate
def cut(step, plan):
    if step == 4 and plan.granularity == "sentence":
        os.kill(os.getpid(), number)
    return rate(step, plan)
contrastive.learning_rate = cut
cli.find_spec = lambda name: True  # what is imported already has no spec to find
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "code", "steps_done"), [(signal.SIGKILL, -signal.SIGKILL, 4), (signal.SIGTERM, 1, 5)]
)
def test_a_run_cut_in_the_middle_ends_where_an_unbroken_one_does(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    number: int,
    code: int,
    steps_done: int,
) -> None:
    file = write_recipe(bert_folder, steps=8)
    train(Recipe.read(file), corpus, tmp_path / "unbroken")
    cut = tmp_path / "cut"
    command = ["adapters", "--recipe", file, "--run", cut, "--device", "cpu"]
    command += ["--corpus", corpus.path, "--evaluation", corpus.evaluation]
    process = subprocess.run(
        [sys.executable, "-c", _CUT_AT_STEP_4, str(int(number)), *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == code, process.stderr
    if number == signal.SIGTERM:
        assert process.stderr.splitlines()[-1] == (
            "polygrain-train: sentence stopped after step 5 of 8 and is saved; "
            "the same command goes on from there"
        )
    saved = torch.load(cut / "sentence" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == steps_done
    phrase_written = os.stat(finished_adapter(cut, "phrase")).st_mtime_ns
    train(Recipe.read(file), corpus, cut)
    assert os.stat(finished_adapter(cut, "phrase")).st_mtime_ns == phrase_written
    assert len(read_run(cut)["sessions"]) == 2
    for name in ("phrase", "sentence", "paragraph"):
        unbroken, resumed = (
            adapters.load(finished_adapter(tmp_path / run, name)) for run in ("unbroken", "cut")
        )
        for key, value in unbroken.items():
            assert torch.allclose(resumed[key], value, atol=1e-5), (name, key)
    assert [line["step"] for line in _metrics(cut, "sentence")] == [0, 7]


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
    monkeypatch.setattr(
        vectors, "info_nce", lambda *args, **plan: info_nce(*args, **plan) * math.nan
    )
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
        ('granularity = "phrase"', 'granularity = "text"', "'phrase', 'sentence', 'paragraph'"),
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


def test_every_way_of_computing_a_step_ends_in_the_same_adapters(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    plain = write_recipe(bert_folder, steps=4)
    text = plain.read_text()
    for name, old, new in (
        ("plain", "", ""),
        ("chunked", "[adapters.phrase]", "chunk_tokens = 40\n[adapters.phrase]"),
        ("cached", "steps = 4", "steps = 4\ngradient_cache = true"),
    ):
        plain.write_text(text.replace(old, new, -1 if name == "cached" else 1) if old else text)
        train(Recipe.read(plain), corpus, tmp_path / name)
    for adapter in ("phrase", "sentence", "paragraph"):
        expected = adapters.load(finished_adapter(tmp_path / "plain", adapter))
        for name in ("chunked", "cached"):
            for key, value in adapters.load(finished_adapter(tmp_path / name, adapter)).items():
                assert torch.allclose(value, expected[key], atol=1e-4), (name, adapter, key)


def test_accumulation_averages_batches_that_follow_each_other(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=1)
    train(Recipe.read(file), corpus, tmp_path / "first")
    file.write_text(file.read_text().replace("steps = 1", "steps = 1\naccumulation_steps = 3"))
    recipe = Recipe.read(file)
    train(recipe, corpus, tmp_path / "three")
    (line,) = _metrics(tmp_path / "three", "phrase")
    # Batches 0, 1 and 2 under the first adapter's fresh weights, one by one.
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    torch.manual_seed(recipe.seed)
    adapters.attach(backbone.model, list(recipe.adapters), recipe.reduction_factor)
    parameters = adapters.select(backbone.model, "phrase", train=True)
    banned = fingerprints(evaluation_texts(corpus.evaluation))
    pairs = load_pairs(corpus.path, Granularity.PHRASE, recipe.languages, banned)
    sampler = PairSampler(pairs, recipe.language_exponent, recipe.seed)
    losses = []
    for number in range(3):
        sides = []
        for texts in zip(*((p.english, p.other) for p in sampler.batch(number, 16)), strict=True):
            ids, mask = backbone.pad(backbone.tokenize(texts, 16))
            states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
            sides.append(masked_mean(states, mask))
        losses.append(info_nce(sides[0], sides[1], 0.05))
    mean = torch.stack(losses).mean()
    gradients = torch.autograd.grad(mean, parameters)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert len({loss.item() for loss in losses}) == 3
    assert line["loss"] == pytest.approx(mean.item(), abs=1e-5)
    assert line["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)
    (alone,) = _metrics(tmp_path / "first", "phrase")
    assert alone["loss"] == pytest.approx(losses[0].item(), abs=1e-5)


def test_held_out_pairs_are_measured_and_never_trained_on(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: set[str] = set()
    batch = PairSampler.batch

    def noted(self: PairSampler, step: int, size: int) -> list[Pair]:
        pairs = batch(self, step, size)
        trained.update(pair.english for pair in pairs)
        return pairs

    held: list[Pair] = []

    def held_out(pairs: dict[str, list[Pair]], count: int) -> object:
        parted = validation.hold_out(pairs, count)
        held.extend(parted[1])
        return parted

    monkeypatch.setattr(PairSampler, "batch", noted)
    monkeypatch.setattr(data, "hold_out", held_out)
    file = write_recipe(bert_folder, steps=40)
    table = "matryoshka_dimensions = [8, 16]\n[validation]\npairs = 20\nevery_steps = 10\n"
    file.write_text(file.read_text().replace("[adapters.phrase]", f"{table}[adapters.phrase]"))
    train(Recipe.read(file), corpus, tmp_path / "run")
    assert len(held) == 60
    assert len(trained) > 100
    assert not trained & {pair.english for pair in held}
    for name in ("phrase", "sentence", "paragraph"):
        lines = [line for line in _metrics(tmp_path / "run", name) if "validation_loss" in line]
        assert [line["step"] for line in lines] == [0, 10, 20, 30, 40]
        assert lines[-1]["validation_loss"] < lines[0]["validation_loss"]
        for width in ("", "_8", "_16"):
            assert 0 <= lines[-1][f"validation_accuracy{width}"] <= 1


def test_widths_that_are_no_part_of_a_vector_are_refused(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder)
    text = file.read_text()
    for widths, message in (
        ("[8, 32]", "has 32; vectors of .* have 32, which is trained in any case"),
        ("[16, 8]", "matryoshka_dimensions: name each once, in rising order"),
    ):
        line = f"matryoshka_dimensions = {widths}\n[adapters.phrase]"
        file.write_text(text.replace("[adapters.phrase]", line))
        with pytest.raises(TrainingError, match=message):
            train(Recipe.read(file), corpus, tmp_path / "run")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_run_on_cuda_ends_near_the_one_on_the_cpu(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=4)
    text = file.read_text().replace("steps = 4", "steps = 4\ngradient_cache = true", 1)
    table = "[validation]\npairs = 20\nevery_steps = 2\n"
    file.write_text(text.replace("[adapters.phrase]", f"{table}[adapters.phrase]"))
    for device in ("cpu", "cuda"):
        train(Recipe.read(file), corpus, tmp_path / device, torch.device(device))
    assert read_run(tmp_path / "cuda")["sessions"][0]["device"] == "cuda"
    for name in ("phrase", "sentence", "paragraph"):
        expected, found = (
            adapters.load(finished_adapter(tmp_path / device, name)) for device in ("cpu", "cuda")
        )
        for key, value in expected.items():
            assert torch.allclose(found[key], value, atol=0.02), (name, key)


def test_an_adapter_may_be_mixed_with_earlier_ones_at_its_end(
    bert_folder: Path, corpus: Corpus, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    file = write_recipe(bert_folder, steps=2)
    text = file.read_text().replace(
        "[adapters.paragraph]", "[adapters.paragraph]\nstart_from = 'sentence'", 1
    )
    file.write_text(text)
    train(Recipe.read(file), corpus, tmp_path / "plain")
    file.write_text(
        text.replace("[adapters.sentence]", "[adapters.sentence]\nmixed_with = { phrase = 0.25 }")
    )
    recipe = Recipe.read(file)
    train(recipe, corpus, tmp_path / "mixed")
    phrase, sentence = (
        adapters.load(finished_adapter(tmp_path / "plain", name)) for name in ("phrase", "sentence")
    )
    mixed = adapters.load(finished_adapter(tmp_path / "mixed", "sentence"))
    for key, value in mixed.items():
        expected = 0.75 * sentence[key] + 0.25 * phrase[key]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)
    # What starts from it starts from the mixture, in the same go or after a cut.
    (tmp_path / "mixed/paragraph/adapter.safetensors").rename(tmp_path / "at-once")
    train(recipe, corpus, tmp_path / "mixed")
    again = adapters.load(finished_adapter(tmp_path / "mixed", "paragraph"))
    at_once = adapters.load(tmp_path / "at-once")
    plain = adapters.load(finished_adapter(tmp_path / "plain", "paragraph"))
    assert all(torch.equal(again[key], value) for key, value in at_once.items())
    assert any(not torch.equal(plain[key], value) for key, value in at_once.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("mixed_with = { paragraph = 0.5 }", "is mixed with paragraph, not trained before"),
        ("mixed_with = { phrase = 1.0 }", "less than 1"),
        ("kind = 'houlsby'\nmixed_with = { phrase = 0.5 }", "one of another kind"),
    ],
)
def test_a_mixture_of_what_is_not_there_or_not_alike_is_refused(
    fields: str, message: str, bert_folder: Path, write_recipe: RecipeWriter
) -> None:
    file = write_recipe(bert_folder)
    text = file.read_text().replace("[adapters.sentence]", f"[adapters.sentence]\n{fields}")
    file.write_text(text)
    with pytest.raises(TrainingError, match=message):
        Recipe.read(file)


def test_shares_leave_something_of_the_adapter_and_lora_is_averaged_elsewhere(
    bert_folder: Path, write_recipe: RecipeWriter
) -> None:
    file = write_recipe(bert_folder)
    text = file.read_text()
    two = "mixed_with = { phrase = 0.5, sentence = 0.5 }"
    file.write_text(text.replace("[adapters.paragraph]", f"[adapters.paragraph]\n{two}"))
    with pytest.raises(TrainingError, match="leave nothing of the adapter itself"):
        Recipe.read(file)
    lora = text.replace("reduction_factor", "kind = 'lora'\nreduction_factor", 1)
    one = "mixed_with = { phrase = 0.5 }"
    file.write_text(lora.replace("[adapters.sentence]", f"[adapters.sentence]\n{one}"))
    with pytest.raises(TrainingError, match="mean of lora adapters has another rank"):
        Recipe.read(file)


def test_an_adapter_may_draw_its_sources_in_its_own_way(
    bert_folder: Path, corpus: Corpus, write_recipe: RecipeWriter
) -> None:
    file = write_recipe(bert_folder)
    text = file.read_text().replace("[adapters.sentence]", "[adapters.sentence]\nsource_exponent=0")
    file.write_text(text)
    loader = Loader(Recipe.read(file), corpus)
    found = [loader.translations(name).sampler for name in ("phrase", "sentence")]
    assert [getattr(each, "source_exponent") for each in found] == [1.0, 0.0]  # noqa: B009
