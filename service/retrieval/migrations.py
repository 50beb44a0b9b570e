"""Tables that grow by numbered migrations, in whichever process opens their file first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import StorageUnavailable


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one kind of database file.

    Migration n takes a database of version n to version n + 1. One that was released is never
    changed; a change of the tables is one more at the end.
    """

    # What such a file is to those who read an error, such as "a collection".
    name: str
    # Says in the file's header that it is ours.
    application_id: int
    migrations: tuple[str, ...]


def migrate(database: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Bring the tables of the file at `path` up to date, each step whole or not at all.

    Raises StorageUnavailable where the file is another program's or a newer Polygrain's.
    """
    version = _pragma(database, "user_version")
    if version and _pragma(database, "application_id") != schema.application_id:
        raise StorageUnavailable(f"{path.name} is not {schema.name} of Polygrain; move it away")
    if version > len(schema.migrations):
        raise StorageUnavailable(
            f"{path.name} is {schema.name} of version {version} and this Polygrain knows up to "
            f"{len(schema.migrations)}; update Polygrain"
        )
    for number in range(version, len(schema.migrations)):
        # Another process may have been quicker: its work is looked for inside the transaction.
        database.execute("BEGIN IMMEDIATE")
        try:
            if _pragma(database, "user_version") == number:
                for statement in _statements(schema.migrations[number]):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {number + 1}")
                database.execute(f"PRAGMA application_id = {schema.application_id}")
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one to some lines; `executescript` would commit before it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
