"""What the documents say of the code is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = (REPOSITORY / "docs/adr/0004-dependencies.md").read_text(encoding="utf-8")


def package_names(requirements: list[str]) -> list[str]:
    return sorted(re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in requirements)


def named_in_table(heading: str) -> list[str]:
    """The first column of the table that follows `heading` in ADR 4."""
    table = DEPENDENCIES.split(heading, 1)[1].split("| Package | Why |\n|---|---|\n", 1)[1]
    rows = table.split("\n\n", 1)[0].splitlines()
    names = [re.fullmatch(r"\| ([A-Za-z0-9._-]+) \| \S.*\. \|", row) for row in rows]
    assert all(names), f"rows that give no reason: {rows}"
    return sorted(name[1] for name in names if name)


@pytest.mark.parametrize(
    ("heading", "extras"),
    [
        ("Base, for serving:", None),
        ("Extras `cpu` and `gpu`", ("cpu", "gpu")),
        ("Extra `training`:", ("training",)),
        ("Extra `dev`:", ("dev",)),
    ],
)
def test_every_dependency_has_its_reason(heading: str, extras: tuple[str, ...] | None) -> None:
    if extras is None:
        wanted = PROJECT["dependencies"]
    else:
        wanted = [each for extra in extras for each in PROJECT["optional-dependencies"][extra]]
    assert named_in_table(heading) == package_names(wanted)


def test_the_tables_cover_every_extra() -> None:
    assert set(PROJECT["optional-dependencies"]) == {"cpu", "gpu", "training", "dev"}


def test_the_changelog_knows_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[:2] == ["Unreleased", PROJECT["version"]]


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "docs/adr").glob("*.md")), ids=lambda f: f.stem
)
def test_a_decision_is_numbered_has_its_three_parts_and_fits_a_page(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(file.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.split()) <= 700
