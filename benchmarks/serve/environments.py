"""The peers' own environments, each from a file of pinned requirements."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import click

PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ("fastembed", "infinity", "sentence-transformers")
_STAMP = "requirements.sha256"


def make(names: Collection[str], into: Path) -> None:
    """Make `into`/NAME for each name; nothing for one that is there with the same requirements.

    An environment that was interrupted or has other requirements is filled again in place. Raises
    CalledProcessError where pip fails.
    """
    for name in names:
        requirements = PEERS / f"{name}.txt"
        digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
        stamp = into / name / _STAMP
        if stamp.exists() and stamp.read_text() == digest:
            click.echo(f"{name}: there already")
            continue
        click.echo(f"{name}: installing {requirements.name} into {into / name}")
        stamp.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "venv", into / name], check=True)
        python = python_of(into, name)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # torch alone and first, so that the index's own build of that version is taken.
        torch = [line for line in requirements.read_text().splitlines() if line[:6] == "torch="]
        if torch:
            subprocess.run([*pip, *torch], check=True)
        subprocess.run([*pip, "-r", str(requirements)], check=True)
        stamp.write_text(digest)


def python_of(into: Path, name: str) -> Path:
    """The interpreter of an environment."""
    return into / name / "bin" / "python"
