"""The tables of a collection, as numbered migrations."""

from __future__ import annotations

from service.retrieval.migrations import Schema

# Every change takes the next number of one counter, `sequence`: a document's key is the number of
# the change that wrote it, and a removal has a number of its own. So keys rise, none comes again,
# and whoever holds all up to a number finds what is new by asking for what is above it.
_MIGRATIONS = (
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

COLLECTION = Schema("a collection", 0x504C4752, _MIGRATIONS)  # "PLGR"
