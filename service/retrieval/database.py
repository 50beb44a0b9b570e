"""SQLite for collections and jobs: many readers and one writer, errors in words."""

from __future__ import annotations

import errno
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import ClientGone, PolygrainError, StorageFull, StorageUnavailable
from service.retrieval.migrations import Schema, migrate
from service.retrieval.values import Cancel

# How long a write waits for that of another process on the same collection.
_BUSY_S = 30

# Between two attempts at what SQLite does not wait for.
_RETRY_S = 0.01

# What the file of a log's index takes at first.
_SHARED_BYTES = 32_768

# Pages of the log that are gathered before they are copied into the database: 16 MiB.
_CHECKPOINT_PAGES = 4_096

# Instructions of SQLite's machine between two looks at whether a query is still wanted.
_LOOK_EVERY = 100_000


class Database:
    """One database file, opened by as many readers as are needed and by one writer.

    A commit is on disk when it returns (write-ahead log, synchronous=FULL).
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        """Open the file at `path`, made where it is missing, with the tables of `schema`."""
        self.path = path
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._closed = False
        self._write_lock = threading.Lock()
        with storage_errors(path):
            self._writer = _connect(path)
            migrate(self._writer, path, schema)

    @contextmanager
    def reading(self, cancel: Cancel | None = None) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction: all that it sees is of one moment."""
        with storage_errors(self.path):
            connection = self._reader()
            try:
                if cancel is not None:
                    connection.set_progress_handler(cancel.is_set, _LOOK_EVERY)
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.set_progress_handler(None, 0)
                _roll_back(connection)
                self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, inside a transaction: kept whole at the end, or not at all.

        Nobody else writes meanwhile, in this process or another.
        """
        with storage_errors(self.path), self._write_lock:
            self._check_open()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                _roll_back(self._writer)

    def close(self) -> None:
        """Close every connection; those that still read close when they are done."""
        with self._write_lock:
            self._closed = True
            self._writer.close()
        self._close_idle()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable(f"{self.path.parent.name} was closed or deleted")

    def _reader(self) -> sqlite3.Connection:
        self._check_open()
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _connect(self.path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.put(connection)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path.absolute().as_uri() + "?mode=rwc",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten in the file.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Who changes the journal of a new file meets others who do, and SQLite waits for nobody."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of the disk into errors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(error, path) from error
    except OSError as error:
        raise _of_system(error, path) from error


def _of_sqlite(error: sqlite3.Error, path: Path) -> PolygrainError:
    # The low byte is the kind, the rest its details.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return ClientGone("the work was cancelled")
    if code == sqlite3.SQLITE_FULL:
        return _full(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _not_writable(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageUnavailable(
            f"another process has been writing {path} for {_BUSY_S} seconds; try again later"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageUnavailable(
            f"{path} is damaged ({error}); restore it from a backup or import an export"
        )
    if code == sqlite3.SQLITE_IOERR:
        if _has_no_room(path):
            return _full(path)
        return StorageUnavailable(f"the disk failed under {path} ({error}); check it")
    return PolygrainError(f"SQLite failed on {path.name}: {error}")


def _of_system(error: OSError, path: Path) -> PolygrainError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
        return _not_writable(Path(error.filename or path))
    return StorageUnavailable(f"the disk failed under {path} ({error.strerror}); check it")


def _has_no_room(path: Path) -> bool:
    """Whether the disk lacks what SQLite needs beside its log to open a file: it calls that an
    error of the disk."""
    with suppress(OSError):
        there = os.statvfs(path.parent)
        return there.f_bavail * there.f_frsize < _SHARED_BYTES
    return False


def _full(path: Path) -> StorageFull:
    return StorageFull(
        f"the disk under {path.parent} is full; nothing of this write was kept, all earlier ones "
        "are: make room and send it again"
    )


def _not_writable(path: Path) -> StorageUnavailable:
    return StorageUnavailable(
        f"{path} cannot be written (read-only disk, or no permission); make it writable, or set "
        "POLYGRAIN_STATE_DIR to a folder that is"
    )
