"""What is known of jobs and uploaded files, in SQLite: each change on disk when it returns."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from service.errors import Conflict, NotFound, quote
from service.jobs.specs import Spec
from service.jobs.tables import JOBS
from service.retrieval.database import Database


class State(StrEnum):
    """How far a job is. It ends in one of the last three and stays there."""

    QUEUED = "queued"
    RUNNING = "running"
    FINALIZING = "finalizing"  # its shards are put together
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED)
ACTIVE = tuple(state for state in State if state not in ENDED)


@dataclass(frozen=True, slots=True)
class Result:
    """A file that a job left, in its folder."""

    name: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What a running job does, in units of its own: rows, texts or bytes."""

    name: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment. Times are seconds since 1970."""

    id: str
    spec: Spec
    state: State
    created_at: float
    started_at: float | None
    finished_at: float | None
    # Name, version and hash of the bundle, separated by spaces.
    bundle: str | None
    total: int | None
    completed: int
    failed: int
    stage: Stage | None
    rows_per_s: float | None
    error: str | None
    results: Result | None
    errors: Result | None
    # What a kind has to tell beside that.
    summary: dict[str, Any]
    revision: int

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Transition:
    """A job came into a state."""

    revision: int
    state: State
    at: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file."""

    id: str
    name: str
    bytes: int
    sha256: str
    created_at: float


def new_id(kind: str) -> str:
    """A name that nobody guesses and no other has."""
    return f"{kind}_{secrets.token_hex(12)}"


class JobStore:
    """Safe to call from several threads, and for several processes."""

    def __init__(self, path: Path) -> None:
        """The store at `path`, made where there is none."""
        self._database = Database(path, JOBS)

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def submit(self, spec: Spec) -> Job:
        """Queue a job; NotFound where a file of its input is not there."""
        id_ = new_id("job")
        with self._database.writing() as connection:
            for each in spec.inputs:
                if each.file is not None:
                    _file(connection, each.file)
                    connection.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (id_, each.file))
            now = time.time()
            connection.execute(
                "INSERT INTO jobs (id, kind, spec, state, created_at) VALUES (?, ?, ?, ?, ?)",
                (id_, spec.kind, json.dumps(spec.as_json()), State.QUEUED, now),
            )
            connection.execute(
                "INSERT INTO transitions VALUES (?, 1, ?, ?)", (id_, State.QUEUED, now)
            )
            return _job(connection, id_)

    def get(self, id_: str) -> Job:
        """A job; NotFound where there is none of this id."""
        with self._database.reading() as connection:
            return _job(connection, id_)

    def page(self, states: Sequence[str], before: int | None, limit: int) -> list[tuple[int, Job]]:
        """Jobs with their numbers, the youngest first; those before a number."""
        marks = ", ".join("?" * len(states))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE state IN ({marks}) AND number < ? "
                "ORDER BY number DESC LIMIT ?",
                (*states, (1 << 62) if before is None else before, limit),
            ).fetchall()
        return [(row[0], _job_of(row)) for row in rows]

    def active(self) -> list[Job]:
        """The jobs that have not ended, the oldest first."""
        return [job for _, job in reversed(self.page(ACTIVE, None, 1 << 30))]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; every state is named."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return {**dict.fromkeys(map(str, State), 0), **dict(rows)}

    def move(self, id_: str, since: Sequence[State], to: State, **changes: Any) -> bool:  # noqa: ANN401
        """Bring a job into another state, with changes of its columns; False where it is in none
        of those that it may come from."""
        with self._database.writing() as connection:
            job = _job(connection, id_)
            if job.state not in since:
                return False
            now, revision = time.time(), job.revision + 1
            if to in ENDED:
                changes["finished_at"] = now
                changes.setdefault("stage", None)
            if to is State.RUNNING and job.started_at is None:
                changes["started_at"] = now
            _change(connection, id_, {"state": to, **changes})
            connection.execute(
                "INSERT INTO transitions VALUES (?, ?, ?, ?)", (id_, revision, to, now)
            )
            return True

    def note(self, id_: str, **changes: Any) -> None:  # noqa: ANN401
        """Change columns of a job that has not ended."""
        with self._database.writing() as connection:
            if not _job(connection, id_).ended:
                _change(connection, id_, changes)

    def transitions(self, id_: str, after: int) -> list[Transition]:
        """The states that a job came into after a revision."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT revision, state, at FROM transitions WHERE job = ? AND revision > ? "
                "ORDER BY revision",
                (id_, after),
            ).fetchall()
        return [Transition(revision, State(state), at) for revision, state, at in rows]

    def forget(self, id_: str) -> None:
        """Remove a job that has ended; Conflict where it has not."""
        with self._database.writing() as connection:
            job = _job(connection, id_)
            if not job.ended:
                raise Conflict(
                    f"job {id_} is {job.state}; cancel it first with POST /jobs/{id_}/cancel", "id"
                )
            for table, column in (("jobs", "id"), ("transitions", "job"), ("uses", "job")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (id_,))

    def ended_before(self, moment: float) -> list[str]:
        """Jobs that ended before a moment."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE finished_at < ?", (moment,)
            ).fetchall()
        return [row[0] for row in rows]

    def exists(self, id_: str) -> bool:
        """Whether there is a job or a file of this id."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM jobs WHERE id = ?1 UNION SELECT 1 FROM files WHERE id = ?1", (id_,)
            ).fetchone()
        return found is not None

    def add_file(self, file: StoredFile) -> None:
        """Keep what is known of a file that lies in its place."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
                (file.id, file.name, file.bytes, file.sha256, file.created_at),
            )

    def file(self, id_: str) -> StoredFile:
        """An uploaded file; NotFound where there is none of this id."""
        with self._database.reading() as connection:
            return _file(connection, id_)

    def files(self) -> list[StoredFile]:
        """All uploaded files, the youngest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM files ORDER BY created_at DESC").fetchall()
        return [StoredFile(*row) for row in rows]

    def forget_file(self, id_: str) -> None:
        """Remove what is known of a file; Conflict while a job that has not ended uses it."""
        with self._database.writing() as connection:
            _file(connection, id_)
            if users := _users(connection, id_):
                raise Conflict(f"job {users[0]} uses file {id_}; cancel it, or wait for it", "id")
            connection.execute("DELETE FROM files WHERE id = ?", (id_,))

    def unused_files(self, moment: float) -> list[str]:
        """Files from before a moment that no job uses which has not ended."""
        with self._database.reading() as connection:
            return [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM files WHERE created_at < ?", (moment,)
                ).fetchall()
                if not _users(connection, row[0])
            ]


def _change(connection: sqlite3.Connection, id_: str, changes: dict[str, Any]) -> None:
    columns: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "stage":
            columns["stage"] = None if value is None else value.name
            columns["stage_done"] = None if value is None else value.done
            columns["stage_total"] = None if value is None else value.total
        else:
            columns[name] = value
    set_ = "".join(f"{name} = ?, " for name in columns)
    connection.execute(
        f"UPDATE jobs SET {set_}revision = revision + 1 WHERE id = ?", (*columns.values(), id_)
    )


def _users(connection: sqlite3.Connection, file: str) -> list[str]:
    marks = ", ".join("?" * len(ENDED))
    rows = connection.execute(
        "SELECT jobs.id FROM uses JOIN jobs ON jobs.id = uses.job "
        f"WHERE uses.file = ? AND jobs.state NOT IN ({marks})",
        (file, *ENDED),
    )
    return [row[0] for row in rows]


def _file(connection: sqlite3.Connection, id_: str) -> StoredFile:
    row = connection.execute("SELECT * FROM files WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no file {quote(id_)}; upload it with POST /files, or, where it was there, "
            "once more: files that no job uses are kept for a time",
            "file",
        )
    return StoredFile(*row)


def _job(connection: sqlite3.Connection, id_: str) -> Job:
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise NotFound(f"there is no job {quote(id_)}; GET /jobs lists those that are kept", "id")
    return _job_of(row)


def _job_of(row: Sequence[Any]) -> Job:
    (_, id_, _, spec, state, created_at, started_at, finished_at, bundle, total, completed) = row[
        :11
    ]
    failed, stage, stage_done, stage_total, rows_per_s, error, result, revision = row[11:]
    left = {} if result is None else json.loads(result)
    return Job(
        id_,
        Spec.of_json(json.loads(spec)),
        State(state),
        created_at,
        started_at,
        finished_at,
        bundle,
        total,
        completed,
        failed,
        None if stage is None else Stage(stage, stage_done, stage_total),
        rows_per_s,
        error,
        Result(**left["results"]) if left.get("results") else None,
        Result(**left["errors"]) if left.get("errors") else None,
        left.get("summary") or {},
        revision,
    )
