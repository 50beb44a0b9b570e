"""Whole runs with other objectives than the default."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from models.bundle import Bundle
from tests.tiny_training import RecipeWriter, translations
from training import trainer
from training.backbone import Backbone
from training.dictionary import Dictionary, Word
from training.errors import TrainingError
from training.export import Identity, export, parity_sample
from training.metrics import read_metrics
from training.recipe import Recipe
from training.run import read_run
from training.trainer import Corpus, fingerprint, train

WORD = """
[adapters.word]
granularity = "word"
kind = {{ name = "lora", rank = 4 }}
max_tokens = 32
steps = 60
batch_pairs = 16
learning_rate = 0.05
objectives = {{ token_alignment = 1.0 }}
tokens = {{ partners = "dictionary", dictionary = "{dictionary}" }}

[validation]
pairs = 20
every_steps = 60
keep_best = true
"""


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    file = tmp_path / "words.parquet"
    Dictionary.of([Word(*each) for each in group] for group in translations()).write(file)
    return file


def test_a_word_adapter_learns_from_sentences_and_is_exported(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    dictionary: Path,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=1)
    file.write_text(file.read_text() + WORD.format(dictionary=dictionary))
    run = tmp_path / "run"
    train(Recipe.read(file), corpus, run)
    lines = read_metrics(run / "word" / "metrics.jsonl")
    first, last = (line for line in lines if "validation_loss" in line)
    assert last["validation_loss"] < first["validation_loss"] - 0.1
    assert last["validation_accuracy"] > first["validation_accuracy"]
    assert all(0.2 < line["partnered_words"] < 1 for line in lines if "loss" in line)
    record = read_run(run)
    assert record["pairs.word"] == record["pairs.sentence"]
    assert set(record) >= {"dictionary_sha256.word"}
    (tmp_path / "card.md").write_text("$version $scores $pairs $parity")
    identity = Identity("tiny", "0.1.0", tmp_path / "card.md")
    export(run, tmp_path / "bundle", identity, parity_sample(run, corpus.path))
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert [str(each.granularity) for each in manifest.adapters][-1] == "word"
    # What was trained on is a part of what was computed.
    dictionary.write_bytes(dictionary.read_bytes() + b"\0")
    with pytest.raises(TrainingError, match=r"made with another dictionary_sha256\.word"):
        train(Recipe.read(file), corpus, run)


def _changed(file: Path, fields: str, top: str = "") -> Recipe:
    """The recipe with `fields` in its first adapter."""
    first = "[adapters.phrase]"
    file.write_text(file.read_text().replace(first, f"{top}\n{first}\n{fields}", 1))
    return Recipe.read(file)


def test_a_run_records_its_teacher(
    bert_folder: Path,
    student_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=1)
    objectives = "objectives = { tcm_average = 1.0, embedding_mse = 2.0, hard_negatives = 0.5 }"
    recipe = _changed(file, objectives, f'teacher = "{student_folder}"')
    train(recipe, corpus, tmp_path / "run")
    teacher = Backbone.open(str(student_folder), half_weights=False)
    assert read_run(tmp_path / "run")["teacher_sha256"] == fingerprint(teacher)
    (line,) = read_metrics(tmp_path / "run" / "phrase" / "metrics.jsonl")
    parts = [line[f"loss.{name}"] for name in ("tcm_average", "embedding_mse", "hard_negatives")]
    assert line["loss"] == pytest.approx(parts[0] + 2 * parts[1] + 0.5 * parts[2], rel=1e-5)
    (line,) = read_metrics(tmp_path / "run" / "sentence" / "metrics.jsonl")
    assert not [name for name in line if name.startswith("loss.")]


@pytest.fixture
def narrow_teacher(bert_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "narrow"
    vocabulary = BertConfig.from_pretrained(bert_folder).vocab_size
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=vocabulary, intermediate_size=16, **sizes)
    BertModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((bert_folder / name).read_bytes())
    return folder


def test_what_an_objective_lacks_is_said_before_the_first_step(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    narrow_teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(fields: str, message: str, top: str = "") -> None:
        recipe = _changed(write_recipe(bert_folder, steps=1), fields, top)
        with pytest.raises(TrainingError, match=message):
            train(recipe, corpus, tmp_path / "run")

    refused("objectives = { masked = 1 }", r"has no \[MASK\] or <mask>; name a token")
    named = 'objectives = { masked = 1 }\nmasking = { mask_token = "[HIDE]" }'
    refused(named, r"has no \[HIDE\]; name a token")
    teacher = f'teacher = "{narrow_teacher}"'
    refused("objectives = { embedding_mse = 1 }", "have 16 numbers, and those of .* 32", teacher)
    missing = 'tokens = { partners = "dictionary", dictionary = "nowhere.parquet" }'
    refused(f"objectives = {{ token_alignment = 1 }}\n{missing}", "nowhere.parquet does not exist")
    teacher = f'teacher = "{tmp_path}"'
    refused("objectives = { tcm = 1 }", "no encoder at", teacher)
    word = write_recipe(bert_folder, steps=1)
    word.write_text(word.read_text().replace('granularity = "phrase"', 'granularity = "word"'))
    with pytest.raises(TrainingError, match="learns from token_alignment; give it"):
        train(Recipe.read(word), corpus, tmp_path / "run")
    monkeypatch.setattr(trainer, "processes", lambda: 3)
    refused("", "batch_pairs is 16, which 3 processes cannot part evenly")
    monkeypatch.setattr(trainer, "processes", lambda: 2)
    crops = write_recipe(bert_folder, steps=1)
    text = crops.read_text()
    crops.write_text(text + "objectives = { crops = 1 }\n")  # of the paragraphs
    with pytest.raises(TrainingError, match="paragraph: crops keeps a queue"):
        train(Recipe.read(crops), corpus, tmp_path / "run")


def test_the_teacher_may_be_of_another_width_where_only_its_cosines_teach(
    bert_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    narrow_teacher: Path,
    tmp_path: Path,
) -> None:
    file = write_recipe(bert_folder, steps=1)
    recipe = _changed(file, "objectives = { similarity_mse = 1 }", f'teacher = "{narrow_teacher}"')
    train(recipe, corpus, tmp_path / "run", torch.device("cpu"))
    (line,) = read_metrics(tmp_path / "run" / "phrase" / "metrics.jsonl")
    assert 0 < line["loss"] < 4
