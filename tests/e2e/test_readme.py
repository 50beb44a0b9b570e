"""The README's commands print what the README says, on the shipped bundle, over a real socket."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60

_TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# A block of shell that calls curl, and the block after it with what it prints.
_EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n\n```(json|text)\n(.*?)```", _TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running `polygrain serve` on the shipped bundle and a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    program = str(Path(sys.executable).with_name("polygrain"))
    command = [program, "serve", "--port", str(port), "--threads", "1"]
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=ROOT, stderr=output) as server,
    ):
        wait = f"curl -sf --retry 60 --retry-connrefused --retry-delay 1 localhost:{port}/readyz"
        try:
            ready = _shell(wait)
            assert json.loads(ready) == {"status": "ready"}, log.read_text()
            yield f"localhost:{port}"
        finally:
            server.terminate()
            assert server.wait(PATIENCE_S) == 0


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
        _assert_alike(json.loads(printed), json.loads(shown))


def test_the_readme_shows_every_endpoint() -> None:
    shown = {path for command, _, _ in _EXAMPLES for path in re.findall(r":8080/(\w+)", command)}
    assert shown == {"embed", "similarity", "align"}


def _assert_alike(value: Any, shown: Any) -> None:  # noqa: ANN401
    """Equal, but for the last digits of floats, which differ from one processor to another."""
    if isinstance(shown, dict):
        assert value.keys() == shown.keys()
        for key in shown:
            _assert_alike(value[key], shown[key])
    elif isinstance(shown, list):
        assert len(value) == len(shown)
        for one, other in zip(value, shown, strict=True):
            _assert_alike(one, other)
    elif isinstance(shown, float):
        assert value == pytest.approx(shown, abs=2e-3)
    else:
        assert value == shown
