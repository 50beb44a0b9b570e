"""The tables of jobs and uploaded files, as numbered migrations."""

from __future__ import annotations

import sqlite3

from service.errors import StorageUnavailable

# Says in the file's header that it is ours: "PLGJ".
APPLICATION_ID = 0x504C474A

# Never changed once released; a change of the tables is one more at the end. Times are seconds
# since 1970, UTC.
MIGRATIONS = (
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        spec TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        -- Name, version and hash of what computes it, once it has begun.
        bundle TEXT,
        total INTEGER,
        completed INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        stage TEXT,
        stage_done INTEGER,
        stage_total INTEGER,
        rows_per_s REAL,
        error TEXT,
        result TEXT,
        -- Rises with every change of this row.
        revision INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX jobs_by_state ON jobs (state);
    CREATE TABLE transitions (
        job TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (job, revision)
    ) WITHOUT ROWID;
    CREATE TABLE files (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created_at REAL NOT NULL
    );
    CREATE TABLE uses (
        job TEXT NOT NULL,
        file TEXT NOT NULL,
        PRIMARY KEY (job, file)
    ) WITHOUT ROWID;
    """,
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step whole or not at all.

    Raises StorageUnavailable where the file is another program's or a newer Polygrain's.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    identity = int(database.execute("PRAGMA application_id").fetchone()[0])
    if version and identity != APPLICATION_ID:
        raise StorageUnavailable("jobs.sqlite is not of Polygrain's jobs; move it away")
    if version > len(MIGRATIONS):
        raise StorageUnavailable(
            f"the jobs are of version {version} and this Polygrain knows up to "
            f"{len(MIGRATIONS)}; update Polygrain"
        )
    for number in range(version, len(MIGRATIONS)):
        # Another worker may have been quicker: what it made is looked at inside the transaction.
        database.execute("BEGIN IMMEDIATE")
        try:
            if int(database.execute("PRAGMA user_version").fetchone()[0]) == number:
                for statement in _statements(MIGRATIONS[number]):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {number + 1}")
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements
