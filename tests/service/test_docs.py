"""docs/api.md says what is so; its requests are made in tests/e2e/pages/test_api.py."""

from __future__ import annotations

import re
from pathlib import Path

from models.bundle import DEFAULT_BUNDLE
from service import errors
from service.api.schemas import EmbedRequest
from service.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_setting_is_listed_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `POLYGRAIN_(\w+)` \| ([^|]+) \|", TEXT, re.MULTILINE))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    for name, shown in rows.items():
        default = Settings.model_fields[name.lower()].default
        if default is None:
            assert shown == ("all cores available" if name == "THREADS" else "none")
        elif isinstance(default, bool):
            assert shown == f"`{str(default).lower()}`"
        elif default == DEFAULT_BUNDLE:
            assert (ROOT / shown.strip("`")).resolve() == default
        else:
            assert shown == f"`{default}`"


def test_every_error_that_a_caller_can_meet_is_listed() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| `(\w+)` \|", TEXT, re.MULTILINE)
    listed = {(int(status), kind, code) for status, kind, code in rows}
    kinds = [kind for kind in _all_kinds(errors.PolygrainError) if kind.__name__[0] != "_"]
    raised = {(kind.status, kind.type, kind.code) for kind in kinds}
    assert raised - listed == {(499, "client_error", "client_closed_request")}
    assert listed <= raised


def _all_kinds(kind: type[errors.PolygrainError]) -> list[type[errors.PolygrainError]]:
    return [kind, *(one for inner in kind.__subclasses__() for one in _all_kinds(inner))]


def test_the_fields_of_embed_are_listed_with_their_defaults() -> None:
    table = TEXT.split("## POST /embed")[1].split("\n##")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", table, re.MULTILINE))
    assert set(rows) == set(EmbedRequest.model_fields)
    for name, shown in rows.items():
        default = EmbedRequest.model_fields[name].default
        wanted = {True: "`true`", None: "none"}.get(default, f"`{default}`")
        assert shown == ("required" if name == "inputs" else wanted)
