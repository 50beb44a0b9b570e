"""docs/api.md says what is so."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models.bundle import DEFAULT_BUNDLE
from service import errors
from service.api.schemas import EmbedRequest
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")

_EXAMPLES = list(
    re.finditer(
        r"curl -s localhost:8080(?P<path>/\w+)(?:[^\n]*\\\n\s+-d '(?P<body>[^']+)')?\n```\n\n"
        r"```json\n(?P<answer>.*?)```",
        TEXT,
        re.DOTALL,
    )
)


def _shape(value: Any) -> Any:  # noqa: ANN401
    """A JSON value with its keys, and without what differs from one bundle to another."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_shape(inner) for inner in value]
    return type(value).__name__ if isinstance(value, list) else "value"


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda m: m["path"])
def test_examples_are_answered_as_shown(encoder: Encoder, example: re.Match[str]) -> None:
    with TestClient(create_app(Settings(), encoder)) as client:
        if example["body"] is None:
            response = client.get(example["path"])
        else:
            response = client.post(example["path"], json=json.loads(example["body"]))
    assert response.status_code == 200
    answer, shown = response.json(), json.loads(example["answer"])
    for varying in ("pairs", "unaligned", "adapters", "routing", "granularity", "adapter"):
        answer.pop(varying, None)
        shown.pop(varying, None)
    assert _shape(answer) == _shape(shown)


def test_the_reader_of_binary_answers_reads_them(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    with TestClient(create_app(Settings(), encoder)) as client:

        def urlopen(request: urllib.request.Request) -> io.BytesIO:
            path = urllib.parse.urlsplit(request.full_url).path
            headers = dict(request.header_items())
            assert isinstance(request.data, bytes)
            response = client.post(path, content=request.data, headers=headers)
            assert response.headers["content-type"] == "application/octet-stream"
            return io.BytesIO(response.content)

        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        read: dict[str, Any] = {}
        exec(program, read)
        texts = {"inputs": ["Reykjavík", "The cat sleeps on the mat."]}
        plain = client.post("/embed", json=texts).json()
    expected = np.array([item["embedding"] for item in plain["data"]], np.float32)
    np.testing.assert_array_equal(read["vectors"], expected)
    assert [item["tokens"] for item in read["answer"]["data"]] == [
        item["tokens"] for item in plain["data"]
    ]


def test_there_is_an_example_of_each_endpoint() -> None:
    paths = {match["path"] for match in _EXAMPLES}
    assert paths == {"/embed", "/similarity", "/align", "/info"}


def test_every_setting_is_listed_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `POLYGRAIN_(\w+)` \| ([^|]+) \|", TEXT, re.MULTILINE))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    for name, shown in rows.items():
        default = Settings.model_fields[name.lower()].default
        if default is None:
            assert shown == ("all cores available" if name == "THREADS" else "none")
        elif default == DEFAULT_BUNDLE:
            assert (ROOT / shown.strip("`")).resolve() == default
        else:
            assert shown == f"`{default}`"


def test_every_error_that_a_caller_can_meet_is_listed() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| `(\w+)` \|", TEXT, re.MULTILINE)
    listed = {(int(status), kind, code) for status, kind, code in rows}
    kinds: list[type[errors.PolygrainError]] = [errors.PolygrainError]
    kinds += errors.PolygrainError.__subclasses__()
    raised = {(kind.status, kind.type, kind.code) for kind in kinds}
    assert raised - listed == {(499, "client_error", "client_closed_request")}
    assert listed <= raised


def test_the_fields_of_embed_are_listed_with_their_defaults() -> None:
    table = TEXT.split("## POST /embed")[1].split("\n##")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", table, re.MULTILINE))
    assert set(rows) == set(EmbedRequest.model_fields)
    for name, shown in rows.items():
        default = EmbedRequest.model_fields[name].default
        wanted = {True: "`true`", None: "none"}.get(default, f"`{default}`")
        assert shown == ("required" if name == "inputs" else wanted)
