from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_training import RecipeWriter
from training.augmentation.pairs import Augmented
from training.augmentation.recipe import AugmentationRecipe
from training.augmentation.typos import typos
from training.corpora.tsv import Pair
from training.data import Corpus, Loader, adapter_data
from training.dictionary import Dictionary, Word
from training.errors import TrainingError
from training.recipe import Recipe
from training.run import read_run, sha256_of
from training.trainer import train

WORDS = Dictionary.of([[Word("en", "river"), Word("de", "Fluss"), Word("fr", "fleuve")]])
KINDS = ("code_switching", "word_order", "casing", "punctuation", "typos")


class Numbers:
    """A sampler whose pairs say their number; every kind of noise finds something in each text."""

    def batch(self, step: int, size: int) -> list[Pair]:
        return [
            Pair(
                f"{step}.{at}", "made", "de", f"river, bridge, garden. {at}", f"Fluss, Brücke. {at}"
            )
            for at in range(size)
        ]


def _plan(**values: float) -> AugmentationRecipe:
    dictionary = Path("words.parquet") if "code_switching" in values else None
    return AugmentationRecipe.model_validate({"rate": 1.0, "dictionary": dictionary, **values})


def _augmented(plan: AugmentationRecipe, seed: int = 1) -> Augmented:
    dictionary = None if plan.dictionary is None else WORDS
    return Augmented(Numbers(), plan, ("en", "de", "fr"), dictionary, seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_kind_falls_on_its_share_of_the_texts_of_both_sides(
    kind: str, probability: float
) -> None:
    pairs = _augmented(_plan(**({kind: probability} if probability else {"typos": 0.0}))).batch(
        3, 400
    )
    plain = Numbers().batch(3, 400)
    assert [(each.id, each.language) for each in pairs] == [
        (each.id, each.language) for each in plain
    ]
    for side in ("english", "other"):
        changed = np.mean(
            [getattr(a, side) != getattr(b, side) for a, b in zip(pairs, plain, strict=True)]
        )
        assert changed == pytest.approx(probability, abs=0.08)


def test_a_batch_is_a_function_of_its_number_and_the_seed() -> None:
    plan = _plan(**dict.fromkeys(KINDS, 0.5))
    batches = _augmented(plan)
    later = batches.batch(7, 20)
    assert batches.batch(8, 20) != later
    # As a run that was resumed sees it: other steps were not drawn before.
    assert _augmented(plan).batch(7, 20) == later
    texts = [each.english.split(" ", 1) for each in later]
    assert texts != [each.english.split(" ", 1) for each in _augmented(plan, seed=2).batch(7, 20)]


def test_switching_uses_the_language_of_each_side() -> None:
    pairs = _augmented(_plan(code_switching=1.0)).batch(0, 60)
    assert {each.english.split(",")[0] for each in pairs} == {"Fluss", "fleuve"}
    assert {each.other.split(",")[0] for each in pairs} == {"River", "Fleuve"}


def _recipe(write: RecipeWriter, backbone: Path, augmentation: str) -> Recipe:
    file = write(backbone, steps=4)
    text = file.read_text().replace("[adapters.phrase]", f"{augmentation}\n[adapters.phrase]", 1)
    file.write_text(text)
    return Recipe.read(file)


def test_a_recipe_noises_what_is_trained_on_and_not_what_is_held_out(
    corpus: Corpus, write_recipe: RecipeWriter
) -> None:
    validation = "[validation]\npairs = 20\nevery_steps = 2\n"
    plain, noised = (
        adapter_data(
            Loader(_recipe(write_recipe, Path("b"), validation + noise), corpus).translations(
                "phrase"
            ),
            "phrase",
        )
        for noise in ("", "[augmentation]\ntypos = 1.0\nrate = 1.0\n")
    )
    assert plain.held_out == noised.held_out
    before, after = plain.draw(2, 16), noised.draw(2, 16)
    assert [each.left.text for each in before] != [each.left.text for each in after]
    rng = np.random.default_rng([1, 2, 0xA6])
    # One draw is spent on each kind that the recipe leaves at zero, and one on typos.
    rng.random(4)
    assert after[0].left.text == typos(before[0].left.text, 1.0, rng)


def test_a_run_remembers_its_dictionary(
    bert_folder: Path, corpus: Corpus, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    file, run = tmp_path / "words.parquet", tmp_path / "run"
    noise = f'[augmentation]\ncode_switching = 0.5\ndictionary = "{file}"\n'
    recipe = _recipe(write_recipe, bert_folder, noise)
    with pytest.raises(TrainingError, match="does not exist; make it by"):
        train(recipe, corpus, run)
    assert not run.exists()
    Dictionary.of([[Word("xx", "a"), Word("yy", "b")]]).write(file)
    with pytest.raises(TrainingError, match="no word in two of the languages en, de"):
        Loader(recipe, corpus).translations("phrase")
    file.unlink()
    WORDS.write(file)
    train(recipe, corpus, run)
    assert read_run(run)["dictionary_sha256"] == sha256_of(file)
    file.unlink()
    Dictionary.of([[Word("en", "river"), Word("de", "Strom")]]).write(file)
    with pytest.raises(TrainingError, match="made with another dictionary_sha256"):
        train(recipe, corpus, run)


@pytest.mark.parametrize("values", [{"code_switching": 0.5}, {"dictionary": "words.parquet"}])
def test_switching_and_its_dictionary_go_together(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="go together"):
        AugmentationRecipe.model_validate(values)


def test_the_documentation_shows_every_field() -> None:
    text = (Path(__file__).parents[3] / "docs/augmentation.md").read_text(encoding="utf-8")
    table = tomllib.loads(text.split("```toml\n", 1)[1].split("```", 1)[0])["augmentation"]
    assert AugmentationRecipe.model_validate(table).typos > 0
    assert set(table) == set(AugmentationRecipe.model_fields)
