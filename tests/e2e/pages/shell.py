"""Typing what a page shows."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.alike import assert_alike
from tests.e2e.pages.documented import Block, words_of
from tests.running_service import PROGRAM, service_started_by
from training.cli import cli

# Seconds for the commands of one block, on a machine that others use too.
_PATIENCE_S = 600
# The service under test has a port of its own, and an answer that tells of an error is one.
_PRELUDE = """
set -euo pipefail
curl() { command curl -fS "$@"; }
polygrain() {
  case "$1 ${2-}" in
    'demo '* | 'jobs '* | 'bundle use') command polygrain "$@" --url "http://$ADDRESS" ;;
    *) command polygrain "$@" ;;
  esac
}
"""


def type_in(
    commands: Iterable[str], folder: Path, address: str = "nowhere", **environment: str
) -> str:
    """Run commands of a page in a folder, each of which must succeed; what they print.

    `address` is of the service that the page has at port 8080. What trains is run in this process,
    which has torch loaded; `polygrain serve` until it answers; all else by bash.
    """
    printed = ""
    for who, some in itertools.groupby(commands, key=_who):
        if who == "bash":
            printed += _bash("\n".join(some), folder, address, environment)
            continue
        for command in some:
            words = words_of(command)[1:]
            if who == "trainer":
                printed += _train([_here(word, address) for word in words], folder)
            else:
                with service_started_by(words, folder, **environment):
                    pass
    return printed


def show(block: Block, printed: str, address: str) -> None:
    """Hold what a block printed against what the page shows after it, if it shows anything; of
    several answers in JSON it shows the last."""
    if block.kind == "json":
        assert_alike(last_value(printed), json.loads(block.shown))
    elif block.kind == "text":
        assert printed == _here(block.shown, address)


def last_value(printed: str) -> Any:  # noqa: ANN401
    """The last of the JSON values in a text that holds nothing else."""
    decoder, value, rest = json.JSONDecoder(), None, printed.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
    return value


def run_python(program: str, folder: Path, address: str = "nowhere") -> dict[str, Any]:
    """Run a program of a page in a folder; the names that it gives."""
    names: dict[str, Any] = {}
    with chdir(folder):
        exec(_here(program, address), names)
    return names


def _who(command: str) -> str:
    words = command.removeprefix(".venv/bin/").split()
    if words[0] == "polygrain-train":
        return "trainer"
    return "server" if words[:2] == ["polygrain", "serve"] else "bash"


def _here(text: str, address: str) -> str:
    return re.sub(r"(localhost|127\.0\.0\.1):8080", address, text)


def _bash(script: str, folder: Path, address: str, environment: dict[str, str]) -> str:
    if "curl " in script and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLYGRAIN_")}
    result = subprocess.run(
        ["bash", "-c", _PRELUDE + _here(script, address).replace(".venv/bin/", "")],
        cwd=folder,
        env={
            **ours,
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "ADDRESS": address,
            "OMP_NUM_THREADS": "1",
            "POLYGRAIN_STATE_DIR": str(folder / "state"),
            "POLYGRAIN_THREADS": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, (script, result.stdout, result.stderr)
    return result.stdout


def _train(words: list[str], folder: Path) -> str:
    printed, threads = StringIO(), torch.get_num_threads()
    try:
        with chdir(folder), redirect_stdout(printed):
            cli.main(words, "polygrain-train", standalone_mode=False)
    finally:
        torch.set_num_threads(threads)  # what --threads changes is for all of the process
    return printed.getvalue()
