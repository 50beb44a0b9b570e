"""The pages that are made from the programs say what the programs say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from starlette.testclient import TestClient

from deploy import api_reference, cli_reference
from service.app import OPERATIONS, create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.service.conftest import encoder

__all__ = ["encoder"]

ROOT = Path(__file__).parents[2]
PAGES = {"deploy.cli_reference": "docs/cli.md", "deploy.api_reference": "docs/api-reference.md"}


@pytest.mark.parametrize("script", PAGES)
def test_a_page_is_what_its_script_prints(script: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", script], cwd=ROOT, capture_output=True, check=True
    ).stdout
    assert printed.decode() == (ROOT / PAGES[script]).read_text(encoding="utf-8"), (
        f"run: python -m {script} > {PAGES[script]}"
    )


def test_the_document_is_the_one_that_the_service_serves(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(), encoder)) as client:
        served = client.get("/openapi.json").json()
    assert served == api_reference.served_document()


def test_every_operation_has_its_section() -> None:
    page = (ROOT / PAGES["deploy.api_reference"]).read_text(encoding="utf-8")
    found = re.findall(r"^### ([A-Z]+) (/\S*)$", page, re.MULTILINE)
    wanted = {(each.method, re.sub(r":path\}", "}", each.path)) for each in OPERATIONS}
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_every_object_that_is_named_has_its_section() -> None:
    page = (ROOT / PAGES["deploy.api_reference"]).read_text(encoding="utf-8")
    sections = {name.lower() for name in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= sections


@pytest.mark.parametrize("program", cli_reference.PROGRAMS)
def test_every_option_is_in_its_commands_section(program: str) -> None:
    page = (ROOT / PAGES["deploy.cli_reference"]).read_text(encoding="utf-8")
    sections = dict(re.findall(r"^##+ (.+)\n((?:(?!##).*\n)*)", page, re.MULTILINE))
    for context in cli_reference.contexts(cli_reference.PROGRAMS[program], program):
        section = sections[context.command_path]
        for parameter in context.command.params:
            names = (
                parameter.opts
                if isinstance(parameter, click.Option)
                else [parameter.human_readable_name]
            )
            for name in names:
                assert re.search(rf"(?<![\w-]){re.escape(name)}\b", section), (
                    context.command_path,
                    name,
                )


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1.0, "maximum": 8}, "integer, ≥ 1, ≤ 8"),
        (
            {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "string, at most 3 characters or null",
        ),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/Unit"}},
            "list of ([Unit](#unit))",
        ),
        ({"enum": ["a", 2]}, '`"a"`, `2`'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of (number)"),
        ({}, "any JSON value"),
    ],
)
def test_a_schema_in_words(schema: api_reference.Schema, words: str) -> None:
    assert api_reference.type_of(schema) == words
