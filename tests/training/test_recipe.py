from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.bundle import Granularity
from training.errors import TrainingError
from training.recipe import Recipe

ROOT = Path(__file__).parents[2]


def test_the_recipe_of_the_documentation_is_one(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL)
    whole = blocks[0]
    (widths,) = (block for block in blocks if block.startswith("matryoshka"))
    tables = [block for block in blocks[1:] if block != widths]
    (tmp_path / "recipe.toml").write_text(widths + whole + "".join(tables))
    recipe = Recipe.read(tmp_path / "recipe.toml")
    assert recipe.matryoshka_dimensions == (64, 128, 256)
    assert recipe.validation is not None
    assert recipe.joint_adapters == ("sentence", "paragraph")
    assert recipe.by_granularity[Granularity.PHRASE] == "phrase"


def test_shipped_adapter_recipes_still_read_as_they_were() -> None:
    recipe = Recipe.read(ROOT / "training/recipes/polygrain-mini-0.1.toml")
    assert recipe.joint is None
    assert recipe.joint_adapters == ()
    assert recipe.validation is None
    for plan in recipe.adapters.values():
        assert (plan.accumulation_steps, plan.gradient_cache) == (1, False)


def test_without_a_list_the_joint_stage_trains_the_first_of_each_granularity(
    tmp_path: Path,
) -> None:
    text = (ROOT / "training/recipes/polygrain-mini-0.1.toml").read_text()
    text += "[joint]\nsteps = 1\nbatch_pairs = 2\nlearning_rate = 0.1\n"
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    assert Recipe.read(file).joint_adapters == ("phrase", "sentence", "paragraph")
    file.write_text(text.replace("[joint]", "matryoshka_dimensions = [8]\n[joint]"))
    with pytest.raises(TrainingError, match="matryoshka_dimensions: Extra inputs"):
        Recipe.read(file)
