"""What shards came to, on disk: a folder for each, under its name whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from models.disk import sync
from service.rows import BadRow

OUTPUT, ERRORS, COUNTS = "output", "errors.jsonl", "counts.json"
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a shard that went well, and those that did not."""

    completed: int
    failed: int


def publish(folder: Path, number: int, output: bytes, bad: Sequence[BadRow], rows: int) -> Counts:
    """Put what a shard of so many rows came to under its name; on disk when this returns.

    Whoever is killed before that leaves a folder with another name, which is written over.
    """
    counts = Counts(rows - len(bad), len(bad))
    part = folder / f"{_name(number)}{_PART}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    lines = b"".join(error_line(each) for each in bad)
    for name, content in (
        (OUTPUT, output),
        (ERRORS, lines),
        (COUNTS, json.dumps(asdict(counts)).encode()),
    ):
        with (part / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync(part)
    part.rename(folder / _name(number))
    sync(folder)
    return counts


def done(folder: Path) -> dict[int, Counts]:
    """The shards that are done, by number, in order."""
    if not folder.is_dir():
        return {}
    names = sorted(each.name for each in folder.iterdir() if each.suffix != _PART)
    return {
        int(name): Counts(**json.loads((folder / name / COUNTS).read_bytes())) for name in names
    }


def paths(folder: Path, numbers: Sequence[int], name: str) -> list[Path]:
    """A file of each of some shards."""
    return [folder / _name(number) / name for number in numbers]


def error_line(bad: BadRow, side: str | None = None) -> bytes:
    """A bad row as a line of the errors file."""
    where = {} if side is None else {"side": side}
    return orjson.dumps({**where, "line": bad.number, "reason": bad.reason}) + b"\n"


def _name(number: int) -> str:
    return f"{number:08d}"
