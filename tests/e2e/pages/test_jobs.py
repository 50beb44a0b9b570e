"""The two jobs of docs/jobs.md, from a file to an array."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.e2e.pages.documented import blocks_of
from tests.e2e.pages.shell import type_in
from tests.running_service import ROOT

PAGES = ("docs/jobs.md",)
_TEXT = (ROOT / "docs/jobs.md").read_text(encoding="utf-8")
_ID = re.compile(r"\b(file|job)_[0-9a-f]{24}")


def test_a_file_becomes_an_array_by_commands_and_over_http(
    things: Mapping[str, Path], address: str, tmp_path: Path
) -> None:
    (tmp_path / "articles.tsv.gz").symlink_to(things["articles, compressed"])
    by_commands, over_http = blocks_of("docs/jobs.md")
    arrays = []
    for block in (by_commands, over_http):
        last: dict[str, str] = {}
        for command in block.commands:
            printed = type_in([_with_ids(command, last)], tmp_path, address)
            last |= {found[1]: found[0] for found in _ID.finditer(printed)}
        arrays.append(np.load(tmp_path / "articles.npy"))
        (tmp_path / "articles.npy").unlink()
    assert arrays[0].shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(arrays[0], axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(arrays[0], arrays[1])

    job = json.loads(type_in([f"curl -s localhost:8080/jobs/{last['job']}"], tmp_path, address))
    (told,) = re.findall(r"told so:\n\n```json\n(.*?)```", _TEXT, re.DOTALL)
    assert job.keys() == json.loads(told).keys()
    assert job["state"] == "completed"


def _with_ids(command: str, last: Mapping[str, str]) -> str:
    """A command with the ids that the service told last in place of the page's."""
    return _ID.sub(lambda found: last[found[1]], command)
