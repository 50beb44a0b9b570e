from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tiny_training import LANGUAGES, RecipeWriter
from training import adapters, data
from training.backbone import Backbone
from training.data import Corpus, Loader, joint_data
from training.errors import TrainingError
from training.export import Identity, export
from training.metrics import read_metrics
from training.positives import Positive
from training.recipe import Recipe
from training.run import read_run
from training.trainer import finished_adapter, train

JOINT = """
[joint]
steps = 30
batch_pairs = 24
learning_rate = 0.02
temperature = 0.05
cross_share = 0.5
gradient_cache = true
"""
VALIDATION = "[validation]\npairs = 6\nevery_steps = 10\n"
NAMES = ("phrase", "sentence", "paragraph")


def _recipe(write: RecipeWriter, backbone: Path, joint: str = JOINT, steps: int = 8) -> Recipe:
    file = write(backbone, steps=steps)
    text = file.read_text().replace("[adapters.phrase]", f"{VALIDATION}[adapters.phrase]", 1)
    file.write_text(text + joint)
    return Recipe.read(file)


@pytest.fixture
def entities(entity_table: Path, evaluation_folder: Path) -> Corpus:
    return Corpus(entity_table, evaluation_folder)


def test_adapters_learn_together_to_find_texts_of_another_granularity(
    bert_folder: Path,
    entities: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    recipe = _recipe(write_recipe, bert_folder)
    run = tmp_path / "run"
    train(recipe, entities, run)
    lines = read_metrics(run / "joint" / "metrics.jsonl")
    held_out = [line for line in lines if "validation_loss" in line]
    assert [line["step"] for line in held_out] == [0, 10, 20, 30]
    cross = ("phrase-sentence", "phrase-paragraph", "sentence-paragraph")
    for kind in (*NAMES, *cross, *(f"{coarse}-excerpt" for coarse in cross[1:])):
        assert 0 <= held_out[0][f"validation_accuracy.{kind}"] <= 1
    for kind in cross:
        assert held_out[-1][f"validation_loss.{kind}"] < held_out[0][f"validation_loss.{kind}"]
    record = read_run(run)
    assert record["stages"]["joint"]["steps"] == 30
    # 54 of 60 entities, each with its coarser text in eleven languages.
    assert record["cross_granularity"]["phrase-paragraph"] == 54 * 11
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    adapters.attach(backbone.model, NAMES, recipe.reduction_factor)
    for name in NAMES:
        before, after = run / name / "adapter.safetensors", finished_adapter(run, name)
        assert after == run / "joint" / "adapters" / f"{name}.safetensors"
        alone, together = adapters.load(before), adapters.load(after)
        assert any(not torch.equal(alone[key], together[key]) for key in alone)
        adapters.load_weights(backbone.model, name, together)

    card = tmp_path / "card.md"
    card.write_text("# $version $parity")
    texts = {"de": ["Haus 1", "rot grün blau 2. Haus Fluss 3."]}
    assert export(run, tmp_path / "bundle", Identity("tiny", "1.0.0", card), texts) < 1e-5


def test_what_is_not_trained_stays_as_it_was(
    bert_folder: Path,
    entities: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    joint = JOINT.replace("steps = 30", 'steps = 2\nadapters = ["paragraph"]')
    run = tmp_path / "run"
    train(_recipe(write_recipe, bert_folder, joint, steps=2), entities, run)
    folder = run / "joint" / "adapters"
    assert [file.name for file in folder.iterdir()] == ["paragraph.safetensors"]
    assert finished_adapter(run, "phrase") == run / "phrase" / "adapter.safetensors"
    assert finished_adapter(run, "paragraph") == folder / "paragraph.safetensors"


def test_a_batch_mixes_granularities_and_says_nothing_twice(
    bert_folder: Path, entities: Corpus, write_recipe: RecipeWriter
) -> None:
    recipe = _recipe(write_recipe, bert_folder)
    loaded = joint_data(Loader(recipe, entities), recipe)
    number_of: dict[str, int] = {}
    for number in range(60):
        batch = loaded.draw(number, 12)
        assert 6 < len(batch) <= 12
        crossed = [each for each in batch if each.left.adapter != each.right.adapter]
        assert len(crossed) == 6
        plain = [each for each in batch if each.left.adapter == each.right.adapter]
        for each in plain:
            number_of[each.left.adapter] = number_of.get(each.left.adapter, 0) + 1
        # Entities end their texts in a name of their own, which no two pairs may share: excerpts
        # of one word may be cut before it.
        names = [name for each in batch if (name := _name(each)) is not None]
        assert len(set(names)) == len(names) > 5
        assert loaded.draw(number, 12) == batch
    assert set(number_of) == set(NAMES)
    assert max(number_of.values()) < 2 * min(number_of.values())


def _name(positive: Positive) -> str | None:
    """The name of the entity of a pair."""
    return positive.right.text.rstrip(".").split()[-1]


def test_held_out_entities_are_trained_on_in_no_stage(
    bert_folder: Path,
    entities: Corpus,
    write_recipe: RecipeWriter,
) -> None:
    recipe = _recipe(write_recipe, bert_folder)
    loader = Loader(recipe, entities)
    loaded = joint_data(loader, recipe)
    held = {_name(each) for kind, pairs in loaded.held_out.items() if "-" in kind for each in pairs}
    assert len(held) == 6
    seen: set[str | None] = set()
    for name in NAMES:
        own = data.adapter_data(loader.translations(name), name)
        seen |= {_name(each) for number in range(20) for each in own.draw(number, 16)}
    seen |= {_name(each) for number in range(20) for each in loaded.draw(number, 24)}
    assert len(seen) > 30
    assert not seen & held


@pytest.mark.parametrize("kept_back", [True, False])
def test_entities_are_kept_back_without_a_joint_stage_where_the_recipe_says_so(
    bert_folder: Path, entities: Corpus, write_recipe: RecipeWriter, kept_back: bool
) -> None:
    with_joint = _recipe(write_recipe, bert_folder)
    values = with_joint.model_dump() | {"joint": None}
    values["validation"]["entities"] = kept_back
    one, other = Loader(with_joint, entities), Loader(Recipe.model_validate(values), entities)
    for name in NAMES:
        drawn = [
            data.adapter_data(loader.translations(name), name).draw(0, 16)
            for loader in (one, other)
        ]
        assert (drawn[0] == drawn[1]) is kept_back


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cross_share = 0.5", "cross_share = 0", "joint.cross_share"),
        ("cross_share = 0.5", 'adapters = ["word"]', "word is not the first adapter of a gran"),
        ("cross_share = 0.5", "adapters = []", "joint.adapters"),
        ("steps = 30", "", "joint.steps"),
    ],
)
def test_a_wrong_joint_stage_is_refused_by_field(
    old: str, new: str, message: str, bert_folder: Path, write_recipe: RecipeWriter
) -> None:
    with pytest.raises(TrainingError, match=message):
        _recipe(write_recipe, bert_folder, JOINT.replace(old, new))


def test_a_joint_stage_needs_two_granularities_and_its_name(
    bert_folder: Path, tmp_path: Path
) -> None:
    def adapter(name: str, granularity: str) -> str:
        return (
            f'[adapters.{name}]\ngranularity = "{granularity}"\nmax_tokens = 8\nsteps = 1\n'
            "batch_pairs = 2\nlearning_rate = 0.1\n"
        )

    file = tmp_path / "recipe.toml"
    head = f'backbone = "{bert_folder}"\nlanguages = ["{LANGUAGES[0]}"]\n'
    file.write_text(head + adapter("a", "phrase") + adapter("b", "phrase") + JOINT)
    with pytest.raises(TrainingError, match="needs adapters of two granularities"):
        Recipe.read(file)
    file.write_text(head + adapter("a", "phrase") + adapter("joint", "sentence") + JOINT)
    with pytest.raises(TrainingError, match="the name is the joint stage's"):
        Recipe.read(file)
