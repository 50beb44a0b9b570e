"""The tables of jobs and uploaded files, as numbered migrations."""

from __future__ import annotations

from service.retrieval.migrations import Schema

# Times are seconds since 1970, UTC.
_MIGRATIONS = (
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

JOBS = Schema("a record of jobs", 0x504C474A, _MIGRATIONS)  # "PLGJ"
