"""The page on objectives says what a recipe may name, and the defaults that it has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from training.terms.recipe import TAUGHT, Objective, ObjectivesRecipe

PAGE = (Path(__file__).parents[3] / "docs/objectives.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## In a recipe")[1].split("\n## ")[0]


def test_every_name_has_its_row() -> None:
    table = SECTION.split("| Parameter |")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(Objective)
    for objective in TAUGHT:
        assert re.search(rf"^\| `{objective}` \|.*teacher", table, re.MULTILINE)


def test_the_defaults_are_those_of_the_recipe() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\{.*?\})` \|", SECTION, re.MULTILINE)
    tables = {
        name
        for name, field in ObjectivesRecipe.model_fields.items()
        if hasattr(field.default, "model_dump")
    }
    assert {name for name, _ in rows} == tables
    for name, table in rows:
        default = ObjectivesRecipe.model_fields[name].default.model_dump(
            mode="json", exclude_none=True
        )
        assert tomllib.loads(f"it = {table}")["it"] == default
