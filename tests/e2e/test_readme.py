"""The README's commands print what the README says, on the shipped bundle, over a real socket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alike import assert_alike
from tests.running_service import running_service

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60

_TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# A block of shell that calls curl, and the block after it with what it prints.
_EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n\n```(json|text)\n(.*?)```", _TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running `polygrain serve` on the shipped bundle and a free port."""
    with running_service(tmp_path_factory.mktemp("serve")) as address:
        yield address.removeprefix("http://")


def _shell(command: str) -> str:
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "kind", "shown"), _EXAMPLES)
def test_curl_lines_print_what_the_readme_says(
    address: str, command: str, kind: str, shown: str
) -> None:
    printed = _shell(command.replace("localhost:8080", address))
    if kind == "text":
        assert printed == shown
    else:
        assert_alike(json.loads(printed), json.loads(shown))


def test_the_readme_shows_every_endpoint() -> None:
    shown = {path for command, _, _ in _EXAMPLES for path in re.findall(r":8080/(\w+)", command)}
    assert shown == {"embed", "similarity", "align"}
