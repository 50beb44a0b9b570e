from __future__ import annotations

import re
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import PolygrainError, StorageUnavailable
from service.retrieval.database import Database
from service.retrieval.migrations import Schema

FIRST = Schema(
    "a list",
    0x54455354,
    ("CREATE TABLE a (x);  -- one; not two\n    CREATE TABLE b (\n    y\n);",),
)
SECOND = replace(FIRST, migrations=(*FIRST.migrations, "ALTER TABLE a ADD COLUMN z"))


def _columns(path: Path, table: str) -> list[str]:
    with sqlite3.connect(path) as database:
        found = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    database.close()
    return found


def test_a_file_goes_on_from_the_version_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "list.sqlite"
    first = Database(path, FIRST)
    with first.writing() as connection:
        connection.execute("INSERT INTO a VALUES (7)")
    first.close()
    assert _columns(path, "b") == ["y"]
    second = Database(path, SECOND)
    with second.reading() as connection:
        assert connection.execute("SELECT x, z FROM a").fetchall() == [(7, None)]
    second.close()
    with pytest.raises(StorageUnavailable, match=r"list.sqlite is a list of version 2 .* to 1"):
        Database(path, FIRST)
    with pytest.raises(StorageUnavailable, match=r"list.sqlite is not a tune of Polygrain"):
        Database(path, replace(SECOND, name="a tune", application_id=1))


def test_a_step_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "list.sqlite"
    Database(path, FIRST).close()
    halfway = "CREATE TABLE c (x);\nCREATE TABLE a (x);"
    with pytest.raises(PolygrainError, match="table a already exists"):
        Database(path, replace(FIRST, migrations=(*FIRST.migrations, halfway)))
    assert _columns(path, "c") == []
    Database(path, SECOND).close()
    assert _columns(path, "a") == ["x", "z"]


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []
    together = threading.Barrier(8)

    def opened(path: Path) -> None:
        together.wait()
        try:
            Database(path, SECOND).close()
        except BaseException as error:
            failed.append(error)

    for attempt in range(10):
        path = tmp_path / f"{attempt}.sqlite"
        threads = [threading.Thread(target=opened, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed, re.sub(r"\s+", " ", str(failed[:3]))
    assert _columns(tmp_path / "0.sqlite", "a") == ["x", "z"]
