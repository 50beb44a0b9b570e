"""Short ways to run the `polygrain` command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from models.bundle import Bundle
from service.cli import main

ROOT = Path(__file__).parents[3]


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def one_line(result: Result, code: int) -> str:
    """The last line that a command ended with, which wrote nothing else to standard output."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def shell(command: str, bundle: Bundle) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `polygrain` is the command, in processes of their own."""
    polygrain = f"{sys.executable} -c 'from service.cli import main; main()'"
    environment = {**os.environ, "POLYGRAIN_BUNDLE": str(bundle.path), "POLYGRAIN_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", command.replace("polygrain", polygrain)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
