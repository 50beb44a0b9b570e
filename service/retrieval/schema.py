"""The tables of a collection, as numbered migrations."""

from __future__ import annotations

import sqlite3

from service.errors import StorageUnavailable

# Says in the file's header that it is ours: "PLGR".
APPLICATION_ID = 0x504C4752

# Migration n takes a database of version n to version n + 1. Never changed once released; a change
# of the tables is one more at the end.
#
# Every change takes the next number of one counter, `sequence`: a document's key is the number of
# the change that wrote it, and a removal has a number of its own. So keys rise, none comes again,
# and whoever holds all up to a number finds what is new by asking for what is above it.
MIGRATIONS = (
    """
    CREATE TABLE about (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        settings TEXT NOT NULL,
        created_at TEXT NOT NULL,
        mark TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        -- Removals up to this number are forgotten: who stands below it starts anew.
        forgotten INTEGER NOT NULL
    );
    CREATE TABLE spaces (
        number INTEGER PRIMARY KEY,
        bundle TEXT,
        version TEXT,
        adapter TEXT
    );
    CREATE TABLE documents (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        space INTEGER NOT NULL REFERENCES spaces,
        language TEXT NOT NULL,
        granularity TEXT,
        metadata TEXT NOT NULL,
        -- Last, so that a scan for the others need not read it.
        text TEXT
    );
    CREATE INDEX documents_facets ON documents (space, language, granularity);
    CREATE TABLE vectors (
        key INTEGER PRIMARY KEY,
        -- Little-endian float32, of length 1.
        vector BLOB NOT NULL
    );
    CREATE TABLE removals (
        sequence INTEGER PRIMARY KEY,
        key INTEGER NOT NULL,
        space INTEGER NOT NULL
    );
    """,
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step whole or not at all.

    Raises StorageUnavailable where the file is another program's or a newer Polygrain's.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    identity = int(database.execute("PRAGMA application_id").fetchone()[0])
    if version and identity != APPLICATION_ID:
        raise StorageUnavailable("the database is not a collection of Polygrain; move it away")
    if version > len(MIGRATIONS):
        raise StorageUnavailable(
            f"the collection is of version {version} and this Polygrain knows up to "
            f"{len(MIGRATIONS)}; update Polygrain"
        )
    for number in range(version, len(MIGRATIONS)):
        database.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; "
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
