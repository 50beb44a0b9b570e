"""The state folder of a mining run: whose it is, and files that stand whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from models.bundle import sha256_of
from models.disk import sync
from service.errors import InvalidInput

FORMAT_VERSION = 1
_IDENTITY = "state.json"
_LOCK = "lock"


class Stage(StrEnum):
    """What a run does, in this order."""

    READ_SOURCE = "reading source"
    READ_TARGET = "reading target"
    EMBED_SOURCE = "embedding source"
    EMBED_TARGET = "embedding target"
    SEARCH_TARGET = "searching target"  # for each source
    SEARCH_SOURCE = "searching source"
    PAIR = "pairing"


# (stage, done, total): units of one stage, bytes while reading and texts after. May raise in order
# to stop the run, whose state then stands for another.
Report = Callable[[Stage, int, int], None]


@contextmanager
def claimed(folder: Path, model: Mapping[str, str], inputs: Sequence[Path]) -> Iterator[None]:
    """The state folder as this run's alone, made where there is none.

    Raises InvalidInput where it belongs to another model or to other inputs, is no state folder, or
    another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInput(
                f"another process is mining in {folder}; wait for it, or give another state folder",
                "state",
            ) from None
        _check_identity(folder, model, inputs)
        yield


def _check_identity(folder: Path, model: Mapping[str, str], inputs: Sequence[Path]) -> None:
    seen = [_stat(path) for path in inputs]
    path = folder / _IDENTITY
    other = f"state folder {folder} is of another run"
    advice = "give another state folder, or delete this one"
    if not path.exists():
        # Killed before it was claimed, a folder holds at most the lock and a part of this file.
        if extra := sorted({each.name for each in folder.iterdir()} - {_LOCK, f"{_IDENTITY}.part"}):
            raise InvalidInput(
                f"{folder} holds {extra[0]!r} and is no state folder; {advice}", "state"
            )
        _record(path, model, seen)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, was, files = found["format_version"], found["model"], found["inputs"]
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{path} cannot be read; {advice}", "state") from None
    if version != FORMAT_VERSION:
        raise InvalidInput(f"{other}: its format version is {version!r}; {advice}", "state")
    if was != dict(model):
        differs = next(name for name in {**was, **model} if was.get(name) != model.get(name))
        raise InvalidInput(
            f"{other}: its {differs} is {was.get(differs)!r}, and this one's is "
            f"{model.get(differs)!r}; {advice}",
            "state",
        )
    for place, (input_, now, then) in enumerate(zip(inputs, seen, files, strict=True)):
        if now != then and not _is_same_content(folder, place, input_):
            raise InvalidInput(
                f"{other}: {input_} is not the file that it read ({then['bytes']} bytes then, "
                f"{now['bytes']} now); {advice}",
                "state",
            )
    if files != seen:
        _record(path, model, seen)


def _is_same_content(folder: Path, place: int, input_: Path) -> bool:
    """Whether a file that was touched or copied holds what was read before."""
    read = side_folder(folder, place) / "read.json"
    if not read.exists():
        return False
    recorded: str = json.loads(read.read_text(encoding="utf-8"))["sha256"]
    return sha256_of(input_) == recorded


def _stat(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", "inputs") from None
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _record(path: Path, model: Mapping[str, str], files: list[dict[str, int]]) -> None:
    write_json(path, {"format_version": FORMAT_VERSION, "model": dict(model), "inputs": files})


def side_folder(folder: Path, place: int) -> Path:
    """Where the texts and vectors of the source (0) or the target (1) lie."""
    return folder / ("source", "target")[place]


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when the block ends, on disk, and else not at all.

    What a killed process leaves has the same name with `.part` and is written over.
    """
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")
