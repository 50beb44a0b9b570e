"""The jobs of a state folder: what is kept where, for who asks and for the one that runs them."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from service.errors import StorageUnavailable
from service.jobs import sources
from service.jobs.specs import Input, Spec
from service.jobs.store import JobStore, State
from service.retrieval.database import storage_errors
from service.settings import Settings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

DATABASE_NAME = "jobs.sqlite"
INCOMING = ".incoming"
# The bad rows of a job; its results begin with RESULTS.
ERRORS, RESULTS = "errors.jsonl", "results."

# What nobody has written to for so long, and nothing is known of, is left of a process that died.
_LEFT_OVER_S = 3_600


class Jobs:
    """Jobs and uploaded files. Safe to call from several threads, and for several processes.

    The folder is made at the first use, so that a server without jobs needs none.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = settings.state_dir.expanduser().absolute()
        self._store: JobStore | None = None
        self._guard = threading.Lock()

    @property
    def exist(self) -> bool:
        """Whether a job or file was ever kept here."""
        return (self.state / "jobs" / DATABASE_NAME).exists()

    @property
    def store(self) -> JobStore:
        """What is known of them, made at the first use."""
        with self._guard:
            if self._store is None:
                with storage_errors(self.state):
                    (self.state / "jobs").mkdir(parents=True, exist_ok=True)
                    (self.state / "files").mkdir(exist_ok=True)
                self._store = JobStore(self.state / "jobs" / DATABASE_NAME)
            return self._store

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state, every state named: for a gauge of metrics.

        Reads the database, some microseconds; a folder without jobs is left as it is.
        """
        return self.store.counts() if self.exist else dict.fromkeys(map(str, State), 0)

    def close(self) -> None:
        """Give the files back."""
        with self._guard:
            if self._store is not None:
                self._store.close()

    def folder(self, id_: str) -> Path:
        """Where a job works and leaves its results."""
        return self.state / "jobs" / id_

    def source(self, input_: Input, param: str) -> sources.Source:
        """The file of an input; see `sources.find`."""
        return sources.find(input_, param, self.store, self.state, self.settings.data_dir)

    def sources(self, spec: Spec) -> list[sources.Source]:
        """The files of a job's inputs."""
        names = ("input",) if len(spec.inputs) == 1 else ("source", "target")
        return [self.source(each, name) for each, name in zip(spec.inputs, names, strict=True)]

    def clear(self, id_: str) -> None:
        """Leave nothing in the folder of a job that has ended but its results."""
        for each in self.folder(id_).iterdir():
            if each.name == ERRORS or each.name.startswith(RESULTS):
                continue
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)

    def forget(self, id_: str) -> None:
        """Remove a job that has ended, with its results; Conflict where it has not."""
        self.store.forget(id_)
        with storage_errors(self.state):
            shutil.rmtree(self.folder(id_), ignore_errors=True)

    def forget_file(self, id_: str) -> None:
        """Remove an uploaded file; Conflict while a job that has not ended uses it."""
        self.store.forget_file(id_)
        with storage_errors(self.state):
            shutil.rmtree(sources.file_folder(self.state, id_), ignore_errors=True)

    def tidy(self) -> None:
        """Remove what was kept long enough, and what processes left that died."""
        now = time.time()
        for id_ in self.store.ended_before(now - self.settings.keep_jobs_s):
            with suppress(Exception):  # another process may have been quicker
                self.forget(id_)
                logger.info("job_expired id=%s", id_)
        for id_ in self.store.unused_files(now - self.settings.keep_jobs_s):
            with suppress(Exception):
                self.forget_file(id_)
                logger.info("file_expired id=%s", id_)
        for id_ in self.store.ended_before(now - _LEFT_OVER_S):
            with suppress(OSError):  # killed before it could do so itself
                self.clear(id_)
        for folder in (self.state / "jobs", self.state / "files"):
            for each in folder.iterdir():
                if each.is_dir() and not self.store.exists(each.name) and _untouched(each, now):
                    shutil.rmtree(each, ignore_errors=True)


def _untouched(folder: Path, now: float) -> bool:
    with suppress(OSError):
        times = [each.stat().st_mtime for each in (folder, *folder.iterdir())]
        return max(times) < now - _LEFT_OVER_S
    return False


class RunnerLock:
    """Held by the one process that runs the jobs of a state folder; freed when it ends, however."""

    def __init__(self, state: Path) -> None:
        if fcntl is None:
            raise StorageUnavailable("jobs need file locks, which this system does not have")
        self._file = (state / "jobs" / "lock").open("a+")

    def try_take(self) -> bool:
        """Whether this process holds it now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()
