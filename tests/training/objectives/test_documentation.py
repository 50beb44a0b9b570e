"""The page on objectives names what there is, and all of it."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import training.objectives

PAGE = (Path(__file__).parents[3] / "docs/objectives.md").read_text(encoding="utf-8")
PACKAGE = Path(next(iter(training.objectives.__path__)))


def _public_functions() -> dict[str, object]:
    found: dict[str, object] = {}
    for file in PACKAGE.glob("[a-z]*.py"):
        module = importlib.import_module(f"training.objectives.{file.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                found[f"{file.stem}.{name}"] = function
    return found


def _says_that_it_is_an_objective(function: object) -> bool:
    text = " ".join((inspect.getdoc(function) or "").split())
    return re.search(r"(^| )L(_\w+)? = ", text) is not None or "a scalar" in text


def test_every_objective_is_in_the_table_and_nothing_else() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)`", PAGE.split("## Hard negatives")[0], re.MULTILINE)
    objectives = {
        name for name, each in _public_functions().items() if _says_that_it_is_an_objective(each)
    }
    assert set(rows) == objectives


def test_every_function_on_the_page_is_one_of_the_package() -> None:
    named = set(re.findall(r"`(\w+\.\w+)`", PAGE)) - {"training.gradcache"}
    assert len(named) > 10
    assert named <= set(_public_functions())


def test_an_objective_gives_its_source() -> None:
    for name, each in _public_functions().items():
        if _says_that_it_is_an_objective(each):
            assert re.search(r"20\d\d|`maxsim`", inspect.getdoc(each) or ""), name
