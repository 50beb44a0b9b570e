"""All collections of one state folder, which belongs to one server at a time."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import IO

from models.disk import sync
from service.errors import Conflict, InvalidInput, NotFound, StorageUnavailable, quote
from service.retrieval.collection import DATABASE_NAME, Collection
from service.retrieval.database import storage_errors
from service.retrieval.indexes import Indexes
from service.retrieval.values import CollectionSettings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_NAME_RULE = "use 1 to 100 of a-z, 0-9, _, - and ., the first a letter or digit"

_FIELDS = tuple(field.name for field in fields(CollectionSettings))

# Folders that are not collections: being made, and being removed.
_MAKING, _REMOVING = ".making-", ".removing-"


class Lock:
    """The state folder held for one server: one process, or the workers of one supervisor.

    The system frees it when the last of them ends, however it ends.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        """Take the folder for `owner`, the number of the process that speaks for the server.

        Raises StorageUnavailable where another server holds it.
        """
        if fcntl is None:
            raise StorageUnavailable("collections need file locks, which this system does not have")
        self.alone = False
        self._file: IO[str] = (folder / "collections.lock").open("a+")
        try:
            self._take(folder, str(owner))
        except BaseException:
            self._file.close()
            raise

    def _take(self, folder: Path, owner: str) -> None:
        if self._try(fcntl.LOCK_EX):
            self.alone = True
            self._file.truncate(0)
            self._file.write(owner)
            self._file.flush()
            return
        self._file.seek(0)
        holder = self._file.read()
        if holder == owner and self._try(fcntl.LOCK_SH):
            return
        raise StorageUnavailable(
            f"the state folder {folder} is in use by another server, process "
            f"{holder or 'unknown'}; stop it, talk to it (--url), or give this one another "
            "POLYGRAIN_STATE_DIR"
        )

    def share(self) -> None:
        """Let other workers of the same server in."""
        self.alone = False
        if not self._try(fcntl.LOCK_SH):
            raise StorageUnavailable("the state folder was taken by another server; try again")

    def release(self) -> None:
        """Give the folder back."""
        self._file.close()

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Collections:
    """The collections under `state`. Safe to call from several threads.

    The folder is made and taken at the first use, so that a server without collections needs none.
    """

    def __init__(
        self,
        state: Path,
        *,
        owner: int | None = None,
        tend: Callable[[Indexes], None] | None = None,
        opened: Callable[[Indexes], None] | None = None,
    ) -> None:
        """`owner` is the process that speaks for the server: the supervisor where workers share it.

        `tend` is given the indexes of a collection after each write; without it they are tended
        in the thread that writes. `opened` is given those of a collection that was opened.
        """
        self._state = state.expanduser().absolute()
        self._folder = self._state / "collections"
        self._owner = os.getpid() if owner is None else owner
        self._tend = tend or Indexes.tend
        self._on_opening = opened or (lambda indexes: None)
        self._lock: Lock | None = None
        self._opened: dict[str, tuple[int, Collection]] = {}
        self._guard = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}

    def names(self) -> list[str]:
        """The names of all collections, sorted."""
        with storage_errors(self._ready()):
            return sorted(
                each.name
                for each in self._folder.iterdir()
                if NAME.fullmatch(each.name) and each.is_dir()
            )

    def create(
        self, name: str, settings: CollectionSettings, asked: Sequence[str] = _FIELDS
    ) -> bool:
        """Make an empty collection; False where it is there with the same settings.

        Raises Conflict where it is there and differs in one of those that were `asked` for.
        """
        _check_name(name)
        folder = self._ready()
        with storage_errors(folder / name):
            if not (folder / name).exists() and self._make(name, settings):
                return True
        there = self.get(name).settings
        for field in asked:
            if getattr(there, field) != getattr(settings, field):
                raise Conflict(
                    f"collection {name} is there, and its {field} is "
                    f"{quote(getattr(there, field))}; leave {field} out, delete the collection "
                    "first, or change an index with POST …/rebuild",
                    field,
                )
        return False

    def get(self, name: str) -> Collection:
        """The collection with a name, opened; NotFound where there is none."""
        _check_name(name)
        folder = self._ready() / name
        number = _number(folder / DATABASE_NAME)
        with self._guard:
            opened = self._opened.get(name)
            opening = self._opening.setdefault(name, threading.Lock())
        if opened is not None and opened[0] == number:
            return opened[1]
        with opening:
            return self._open(name, folder)

    def delete(self, name: str) -> None:
        """Remove a collection with all that it holds; NotFound where there is none."""
        _check_name(name)
        folder = self._ready()
        gone = folder / f"{_REMOVING}{name}-{os.getpid()}-{os.urandom(4).hex()}"
        with storage_errors(folder / name):
            if not (folder / name).exists():
                raise _not_found(name)
            (folder / name).rename(gone)
            sync(folder)
            with self._guard:
                opened = self._opened.pop(name, None)
            if opened is not None:
                opened[1].abandon()
            shutil.rmtree(gone)

    def recalls(self) -> dict[str, float]:
        """The recall that the audits of each open collection found, of its worst index."""
        with self._guard:
            opened = dict(self._opened)
        found = {name: collection.recalls() for name, (_, collection) in sorted(opened.items())}
        return {name: min(recalls) for name, recalls in found.items() if recalls}

    def close(self) -> None:
        """Save what is open, and give the folder back."""
        with self._guard:
            opened, self._opened = self._opened, {}
        for _, collection in opened.values():
            collection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _ready(self) -> Path:
        """The folder, made and taken."""
        with self._guard:
            if self._lock is None:
                with storage_errors(self._folder):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    lock = Lock(self._state, self._owner)
                    self._lock = lock
                    if lock.alone:
                        self._clear()
                        lock.share()
        return self._folder

    def _clear(self) -> None:
        """Remove what was being made or removed when an earlier server ended."""
        for each in self._folder.iterdir():
            if each.name.startswith((_MAKING, _REMOVING)):
                shutil.rmtree(each)

    def _make(self, name: str, settings: CollectionSettings) -> bool:
        """Make a collection whole, then give it its name; False where that is taken."""
        making = self._folder / f"{_MAKING}{name}-{os.getpid()}-{os.urandom(4).hex()}"
        making.mkdir()
        try:
            Collection.create(making, settings)
            sync(making)
            making.rename(self._folder / name)
        except BaseException as error:
            with suppress(OSError):
                shutil.rmtree(making)
            if isinstance(error, OSError) and (self._folder / name).exists():
                return False
            raise
        sync(self._folder)
        return True

    def _open(self, name: str, folder: Path) -> Collection:
        number = _number(folder / DATABASE_NAME)
        with self._guard:
            opened = self._opened.get(name)
            if opened is not None and opened[0] != number:
                del self._opened[name]
        if opened is not None:
            if opened[0] == number:
                return opened[1]
            # Another worker deleted it.
            opened[1].abandon()
        if not folder.exists():
            raise _not_found(name)
        collection = Collection.open(name, folder, self._tend, self._on_opening)
        with self._guard:
            self._opened[name] = (_number(folder / DATABASE_NAME), collection)
        return collection


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput(f"the name of a collection is {quote(name)}; {_NAME_RULE}", "name")


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no collection {name}; make it with PUT /collections/{name}", "name")


def _number(file: Path) -> int:
    """What tells a file from another under the same name; 0 where there is none."""
    try:
        return file.stat().st_ino
    except OSError:
        return 0
