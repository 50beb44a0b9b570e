"""What docs/api.md asks the service is answered as it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tests.alike import assert_alike
from tests.e2e.pages.documented import blocks_of
from tests.e2e.pages.shell import last_value, run_python, type_in

PAGES = ("docs/api.md",)
# What depends on the machine, and on what the service was asked before.
_OF_THE_MOMENT = ("runtime", "queue")


def test_every_request_is_answered_as_shown(address: str, tmp_path: Path) -> None:
    asked = set()
    for block in blocks_of("docs/api.md"):
        if block.language == "python":
            _reads_binary_answers(block.commands[0], tmp_path, address)
            continue
        answer = last_value(type_in(block.commands, tmp_path, address))
        if block.kind == "json":
            asked |= set(re.findall(r":8080/(\w+)", block.commands[-1]))
            shown = json.loads(block.shown)
            for name in _OF_THE_MOMENT:
                _assert_same_names(answer.pop(name, None), shown.pop(name, None))
            assert_alike(_shortened(answer, shown), shown)
        else:
            assert [hit["id"] for hit in answer["results"][0]] == ["a1"]
    assert asked == {"embed", "similarity", "align", "info"}


def _shortened(answer: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """An answer with its vectors and its list of languages as short as the page has them."""
    if "languages" in shown:
        answer["languages"] = answer["languages"][: len(shown["languages"])]
    for item, short in zip(answer.get("data", ()), shown.get("data", ()), strict=True):
        item["embedding"] = item["embedding"][: len(short["embedding"])]
    return answer


def _assert_same_names(value: Any, shown: Any) -> None:  # noqa: ANN401
    assert isinstance(value, type(shown))
    if isinstance(shown, dict):
        assert value.keys() == shown.keys()


def _reads_binary_answers(program: str, folder: Path, address: str) -> None:
    read = run_python(program, folder, address)
    texts = json.dumps({"inputs": ["Reykjavík", "The cat sleeps on the mat."]})
    ask = f"curl -s localhost:8080/embed -H 'Content-Type: application/json' -d '{texts}'"
    plain = last_value(type_in([ask], folder, address))
    expected = np.array([item["embedding"] for item in plain["data"]], np.float32)
    np.testing.assert_allclose(read["vectors"], expected, atol=1e-6)
    assert [item["tokens"] for item in read["answer"]["data"]] == [
        item["tokens"] for item in plain["data"]
    ]
