"""The file of API keys: read by the service, written by `polygrain keys`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.security.keys import BadKeyEntry, Key, read_entries

_HEAD = "# API keys of Polygrain, one in each line; change them with `polygrain keys`.\n"


def read_file(path: Path) -> dict[str, Key]:
    """The keys of a file by name; BadKeyEntry, in one line, where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BadKeyEntry(f"there is no file {path}; `polygrain keys create` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadKeyEntry(f"{path} cannot be read: {reason}") from None
    try:
        return read_entries(word for line in lines for word in line.partition("#")[0].split())
    except BadKeyEntry as error:
        raise BadKeyEntry(f"{path}: {error}") from None


@contextlib.contextmanager
def changed_file(path: Path) -> Iterator[dict[str, Key]]:
    """The keys of a file, to change in place; what they are at the end is written, whole or not.

    One process at a time: the folder is locked meanwhile. A file that is not there yet is empty.
    """
    with _locked(path.parent):
        keys = read_file(path) if path.exists() else {}
        yield keys
        _write(path, keys)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows; there two changes at the same moment may lose one
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, keys: Mapping[str, Key]) -> None:
    # Made with mode 600; the service reads the file under its own user.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_HEAD + "".join(f"{key.entry()}\n" for key in keys.values()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
