from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models.bundle import Granularity
from tests.tiny_training import LANGUAGES, RecipeWriter, sentence
from training import adapters
from training.ablation.plan import Subset
from training.ablation.reader import RunReader
from training.ablation.subset import write_subset
from training.backbone import Backbone
from training.corpora.sampling import load_pairs
from training.data import Corpus
from training.parity import encode_alone
from training.recipe import Recipe
from training.trainer import finished_adapter, train

CPU = torch.device("cpu")
TEXTS = [sentence(language, n, 3 + n) for language in ("en", "de", "ja") for n in range(12)]


def _alone(backbone: Backbone, texts: list[str], max_tokens: int) -> list[np.ndarray]:
    """Every text by itself, without padding or batches."""
    return [encode_alone(backbone, row)[0] for row in backbone.tokenize(texts, max_tokens)]


def test_texts_go_through_the_run_s_adapters_as_they_do_alone(
    bert_folder: Path, corpus: Corpus, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    recipe = Recipe.read(write_recipe(bert_folder, steps=3))
    run = tmp_path / "run"
    train(recipe, corpus, run)
    reader = RunReader.open(recipe, run, CPU)
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    plain = _alone(backbone, TEXTS, 48)
    adapters.attach_kinds(backbone.model, recipe.kinds)
    found = {}
    for name, plan in recipe.adapters.items():
        trained = adapters.load(finished_adapter(run, name))
        adapters.load_weights(backbone.model, name, trained)
        adapters.select(backbone.model, name)
        found[name] = reader.embed([*TEXTS, TEXTS[0]], name)
        expected = _alone(backbone, TEXTS, plan.max_tokens)
        assert np.abs(found[name][:-1] - expected).max() < 1e-5
        assert (found[name][-1] == found[name][0]).all()
        assert found[name].dtype == np.float32
    assert np.abs(found["phrase"] - found["sentence"]).max() > 1e-3
    assert np.abs(reader.embed(TEXTS, None) - plain).max() < 1e-5
    words = [text.split() for text in TEXTS[:12]]  # English: no word has several tokens
    adapters.select(backbone.model, "sentence")
    for sides, text in zip(reader.embed_words(words, "sentence"), TEXTS, strict=False):
        states = encode_alone(backbone, backbone.tokenize([text], 32)[0])[1]
        assert np.abs(sides - states[1:-1]).max() < 1e-5


def test_without_a_run_the_adapters_are_those_that_training_starts_from(
    bert_folder: Path, corpus: Corpus, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    file = write_recipe(bert_folder, steps=1)
    # A step that changes nothing.
    file.write_text(file.read_text().replace("learning_rate = 0.02", "learning_rate = 1e-30"))
    recipe = Recipe.read(file, seed=5)
    train(recipe, corpus, tmp_path / "run")
    fresh = RunReader.open(recipe, None, CPU)
    started = RunReader.open(recipe, tmp_path / "run", CPU)
    other = RunReader.open(recipe.model_copy(update={"seed": 6}), None, CPU)
    for name in recipe.adapters:
        expected = started.embed(TEXTS, name)
        assert np.abs(fresh.embed(TEXTS, name) - expected).max() < 1e-6
        assert np.abs(other.embed(TEXTS, name) - expected).max() > 1e-6


def test_a_subset_is_the_same_pairs_of_every_language_and_granularity(
    bert_folder: Path, corpus: Corpus, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = Recipe.read(write_recipe(bert_folder))
    folders = [
        write_subset(Subset(pairs=count), recipe, corpus, tmp_path / "subsets")
        for count in (7, 20, 1000)
    ]
    assert len(set(folders)) == 3
    for granularity in ("phrase", "sentence", "paragraph"):
        pools = [
            load_pairs(folder, Granularity(granularity), LANGUAGES, frozenset())
            for folder in folders
        ]
        everything = load_pairs(corpus.path, Granularity(granularity), LANGUAGES, frozenset())
        for language in LANGUAGES:
            seven, twenty, all_of_them = (set(map(repr, pool[language])) for pool in pools)
            assert (len(seven), len(twenty)) == (7, 20)
            assert seven < twenty < all_of_them
            first = set(map(repr, everything[language][:7]))
            assert seven != first  # a hash decides, not the order of the corpus
            whole = set(map(repr, everything[language]))
            # One sentence stands in the test sets.
            assert len(whole - all_of_them) == (1 if granularity == "sentence" else 0)
            assert all_of_them <= whole
    written = (folders[0] / "subset.pairs.tsv").stat().st_mtime_ns
    again = write_subset(Subset(pairs=7), recipe, corpus, tmp_path / "subsets")
    assert (again / "subset.pairs.tsv").stat().st_mtime_ns == written
    elsewhere = write_subset(Subset(pairs=7), recipe, corpus, tmp_path / "elsewhere")
    assert (elsewhere / "subset.pairs.tsv").read_bytes() == (
        folders[0] / "subset.pairs.tsv"
    ).read_bytes()
