"""The truth of a collection: its documents and their vectors, in SQLite."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from service.retrieval.database import Database
from service.retrieval.filters import EVERYTHING, Condition
from service.retrieval.index import IndexWish
from service.retrieval.schema import COLLECTION
from service.retrieval.values import (
    Cancel,
    CollectionSettings,
    Document,
    Entry,
    Floats,
    Keys,
    Space,
    Written,
)

# Ids that are remembered by key, about 150 bytes each; a key never gets another.
_IDS = 1 << 18

# Keys that one statement asks for: below SQLite's 32,766, and few enough to prepare quickly.
_SOME = 1_000

_DOCUMENT = "d.key, d.id, d.text, d.language, d.granularity, d.metadata, d.space"


class Store:
    """Documents and vectors, read at a moment and written whole or not at all.

    Safe to call from several threads, and for several processes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            row = connection.execute("SELECT settings, created_at, mark FROM about").fetchone()
        self.dimensions = _settings_of(row[0]).dimensions
        self.created_at: str = row[1]
        # Tells this collection's files from another's of the same name.
        self.mark: str = row[2]
        self._ids: dict[int, str] = {}

    @classmethod
    def create(cls, path: Path, settings: CollectionSettings) -> None:
        """Write an empty store to a new file."""
        database = Database(path, COLLECTION)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with database.writing() as connection:
                connection.execute(
                    "INSERT INTO about VALUES (1, ?, ?, ?, 0, 0)",
                    (_settings_json(settings), now, secrets.token_hex(8)),
                )
        finally:
            database.close()

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store in a file; StorageUnavailable where it is no such thing."""
        return cls(Database(path, COLLECTION))

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was made with, as it was changed since, by any process."""
        with self._database.reading() as connection:
            return _settings_of(connection.execute("SELECT settings FROM about").fetchone()[0])

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    @contextmanager
    def reading(self, cancel: Cancel | None = None) -> Iterator[View]:
        """What the store holds at this moment."""
        with self._database.reading(cancel) as connection:
            yield View(connection, self.dimensions, self._ids)

    @contextmanager
    def holding(self) -> Iterator[View]:
        """The same, while nobody can write."""
        with self._database.writing() as connection:
            yield View(connection, self.dimensions, self._ids)

    def fetch(self, keys: Keys) -> Floats:
        """The vectors of `keys`: (n, dimensions), NaN for a key that is gone."""
        with self.reading() as view:
            return view.vectors(keys)

    def change_settings(self, settings: CollectionSettings) -> None:
        """Keep other settings; the dimensions stay."""
        with self._database.writing() as connection:
            connection.execute("UPDATE about SET settings = ?", (_settings_json(settings),))

    def upsert(
        self, entries: Sequence[Entry], vectors: Floats, instead_of: Mapping[str, int] | None = None
    ) -> Written:
        """Write documents with their unit vectors (n, dimensions), in the place of those with
        their ids. All are on disk when this returns, or none; ids must not repeat.

        With `instead_of`, keys by id: only those that still stand in the place of these keys.
        """
        with self._database.writing() as connection:
            view = View(connection, self.dimensions)
            there = view.keys_of([each.id for each in entries])
            if instead_of is not None:
                there = [each for each in there if instead_of[each[1]] == each[0]]
                ids = {id_ for _, id_, _ in there}
                kept = [place for place, each in enumerate(entries) if each.id in ids]
                entries, vectors = [entries[place] for place in kept], vectors[kept]
            old = [(key, space) for key, _, space in there]
            sequence = _remove(connection, view.sequence, old)
            numbers = _space_numbers(connection, {each.space for each in entries})
            keys = range(sequence + 1, sequence + 1 + len(entries))
            connection.executemany(
                "INSERT INTO documents (key, id, space, language, granularity, metadata, text) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        key,
                        entry.id,
                        numbers[entry.space],
                        entry.language,
                        entry.granularity,
                        entry.metadata.decode(),
                        entry.text,
                    )
                    for key, entry in zip(keys, entries, strict=True)
                ),
            )
            rows = np.ascontiguousarray(vectors, "<f4")
            connection.executemany(
                "INSERT INTO vectors VALUES (?, ?)",
                ((key, row.tobytes()) for key, row in zip(keys, rows, strict=True)),
            )
            sequence += len(entries)
            _set_sequence(connection, sequence)
        return Written(len(entries) - len(old), len(old), sequence)

    def delete_ids(self, ids: Sequence[str]) -> int:
        """Delete the documents with these ids; how many there were."""
        with self._database.writing() as connection:
            view = View(connection, self.dimensions)
            return self._delete(connection, view.keys_of(sorted(set(ids))))

    def delete_where(self, condition: Condition) -> int:
        """Delete the documents that meet `condition`; how many there were."""
        with self._database.writing() as connection:
            found = connection.execute(
                f"SELECT d.key, d.id, d.space FROM documents AS d WHERE {condition.sql}",
                condition.values,
            )
            return self._delete(connection, found.fetchall())

    def forget(self, sequence: int) -> None:
        """Drop the record of removals up to `sequence`, which every saved index has followed."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM removals WHERE sequence <= ?", (sequence,))
            connection.execute("UPDATE about SET forgotten = max(forgotten, ?)", (sequence,))

    def _delete(self, connection: sqlite3.Connection, found: Sequence[tuple[int, str, int]]) -> int:
        view = View(connection, self.dimensions)
        sequence = _remove(connection, view.sequence, [(key, space) for key, _, space in found])
        _set_sequence(connection, sequence)
        return len(found)


@dataclass(frozen=True, slots=True)
class View:
    """The store at one moment."""

    connection: sqlite3.Connection
    dimensions: int
    known_ids: dict[int, str] = field(default_factory=dict)  # of keys, those of other moments too

    @property
    def sequence(self) -> int:
        """The number of the last change."""
        return int(self.connection.execute("SELECT sequence FROM about").fetchone()[0])

    @property
    def forgotten(self) -> int:
        """The number up to which removals are no longer known."""
        return int(self.connection.execute("SELECT forgotten FROM about").fetchone()[0])

    def spaces(self) -> dict[int, Space]:
        """The spaces that documents are in, by number."""
        rows = self.connection.execute(
            "SELECT number, bundle, version, adapter FROM spaces AS s WHERE EXISTS "
            "(SELECT 1 FROM documents AS d WHERE d.space = s.number) ORDER BY number"
        )
        return {number: Space(*made_by) for number, *made_by in rows}

    def all_spaces(self) -> dict[int, Space]:
        """Every space that there was, by number."""
        rows = self.connection.execute("SELECT number, bundle, version, adapter FROM spaces")
        return {number: Space(*made_by) for number, *made_by in rows}

    def facets(self) -> list[tuple[int, str, str | None, int]]:
        """How many documents there are of each space, language and granularity."""
        return self.connection.execute(
            "SELECT space, language, granularity, count(*) FROM documents "
            "GROUP BY space, language, granularity"
        ).fetchall()

    def count(self, condition: Condition = EVERYTHING) -> int:
        """How many documents meet `condition`."""
        sql = f"SELECT count(*) FROM documents AS d WHERE {condition.sql}"
        return int(self.connection.execute(sql, condition.values).fetchone()[0])

    def page(self, condition: Condition, after: int, limit: int) -> list[Document]:
        """The next documents after a key, in the order in which they were written."""
        rows = self.connection.execute(
            f"SELECT {_DOCUMENT} FROM documents AS d WHERE d.key > ? AND ({condition.sql}) "
            "ORDER BY d.key LIMIT ?",
            (after, *condition.values, limit),
        )
        return [_document(row) for row in rows]

    def by_id(self, id_: str) -> Document | None:
        """The document with an id."""
        row = self.connection.execute(
            f"SELECT {_DOCUMENT} FROM documents AS d WHERE d.id = ?", (id_,)
        ).fetchone()
        return None if row is None else _document(row)

    def by_keys(self, keys: Sequence[int]) -> dict[int, Document]:
        """The documents of those `keys` that are there."""
        found: dict[int, Document] = {}
        for some in _some(keys):
            sql = f"SELECT {_DOCUMENT} FROM documents AS d WHERE d.key IN ({_marks(some)})"
            for row in self.connection.execute(sql, some):
                found[row[0]] = _document(row)
        return found

    def ids(self, keys: Sequence[int]) -> list[str] | None:
        """The ids of documents that are there, or were at another moment, by `keys`.

        None where one is not known and not there.
        """
        known = self.known_ids
        ids = list(map(known.get, keys))
        if None not in ids:
            return cast(list[str], ids)
        missing = {key for key, id_ in zip(keys, ids, strict=True) if id_ is None}
        read: dict[int, str] = {}
        for some in _some(list(missing)):
            sql = f"SELECT key, id FROM documents WHERE key IN ({_marks(some)})"
            read.update(self.connection.execute(sql, some))
        if len(known) + len(read) > _IDS:
            known.clear()
        known.update(read)
        if len(read) < len(missing):
            return None
        return [read[key] if id_ is None else id_ for key, id_ in zip(keys, ids, strict=True)]

    def keys_of(self, ids: Sequence[str]) -> list[tuple[int, str, int]]:
        """Key, id and space of those `ids` that are there."""
        found: list[tuple[int, str, int]] = []
        for some in _some(ids):
            sql = f"SELECT d.key, d.id, d.space FROM documents AS d WHERE d.id IN ({_marks(some)})"
            found += self.connection.execute(sql, some)
        return found

    def matching(self, condition: Condition) -> dict[int, dict[str, Keys]]:
        """The keys that meet `condition`, ascending, by space and language."""
        rows = self.connection.execute(
            f"SELECT d.space, d.language, d.key FROM documents AS d WHERE {condition.sql} "
            "ORDER BY d.space, d.language, d.key",
            condition.values,
        )
        found: dict[int, dict[str, list[int]]] = {}
        for space, language, key in rows:
            found.setdefault(space, {}).setdefault(language, []).append(key)
        return {
            space: {language: np.array(keys, np.int64) for language, keys in languages.items()}
            for space, languages in found.items()
        }

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of `keys`: (n, dimensions), NaN for a key that is gone."""
        vectors = np.full((len(keys), self.dimensions), np.nan, np.float32)
        places: dict[int, list[int]] = {}
        for place, key in enumerate(keys.tolist()):
            places.setdefault(key, []).append(place)
        for some in _some(list(places)):
            sql = f"SELECT key, vector FROM vectors WHERE key IN ({_marks(some)})"
            for key, vector in self.connection.execute(sql, some):
                vectors[places[key]] = np.frombuffer(vector, "<f4")
        return vectors

    def added(self, space: int, after: int) -> tuple[Keys, Floats]:
        """Keys and vectors of what a space gained above a sequence number and still has."""
        where = "FROM documents AS d WHERE d.space = ? AND d.key > ?"
        count = self.connection.execute(f"SELECT count(*) {where}", (space, after)).fetchone()[0]
        keys = np.empty(count, np.int64)
        vectors = np.empty((count, self.dimensions), np.float32)
        rows = self.connection.execute(
            "SELECT d.key, v.vector FROM documents AS d JOIN vectors AS v ON v.key = d.key "
            "WHERE d.space = ? AND d.key > ? ORDER BY d.key",
            (space, after),
        )
        for place, (key, vector) in enumerate(rows):
            keys[place] = key
            vectors[place] = np.frombuffer(vector, "<f4")
        return keys, vectors

    def size_at(self, space: int, sequence: int) -> int:
        """How many documents a space had at a sequence number that is not forgotten."""
        row = self.connection.execute(
            "SELECT (SELECT count(*) FROM documents WHERE space = ?1 AND key <= ?2) + "
            "(SELECT count(*) FROM removals WHERE space = ?1 AND key <= ?2 AND sequence > ?2)",
            (space, sequence),
        ).fetchone()
        return int(row[0])

    def removed(self, space: int, after: int) -> Keys:
        """Keys of what a space had at a sequence number and lost since."""
        rows = self.connection.execute(
            "SELECT key FROM removals WHERE sequence > ? AND key <= ? AND space = ? ORDER BY key",
            (after, after, space),
        )
        return np.array([key for (key,) in rows], np.int64)


def _remove(connection: sqlite3.Connection, sequence: int, found: Sequence[tuple[int, int]]) -> int:
    """Remove documents by key and space; the sequence number after it."""
    keys = [(key,) for key, _ in found]
    connection.executemany("DELETE FROM documents WHERE key = ?", keys)
    connection.executemany("DELETE FROM vectors WHERE key = ?", keys)
    connection.executemany(
        "INSERT INTO removals VALUES (?, ?, ?)",
        ((sequence + 1 + place, key, space) for place, (key, space) in enumerate(found)),
    )
    return sequence + len(found)


def _set_sequence(connection: sqlite3.Connection, sequence: int) -> None:
    connection.execute("UPDATE about SET sequence = ?", (sequence,))


def _space_numbers(connection: sqlite3.Connection, spaces: set[Space]) -> dict[Space, int]:
    """The numbers of `spaces`; a new one gets the next."""
    numbers = {
        Space(*made_by): number
        for number, *made_by in connection.execute("SELECT * FROM spaces").fetchall()
    }
    for space in sorted(spaces - numbers.keys(), key=str):
        cursor = connection.execute(
            "INSERT INTO spaces (bundle, version, adapter) VALUES (?, ?, ?)",
            (space.bundle, space.version, space.adapter),
        )
        assert cursor.lastrowid is not None
        numbers[space] = cursor.lastrowid
    return numbers


def _document(row: tuple[Any, ...]) -> Document:
    key, id_, text, language, granularity, metadata, space = row
    return Document(key, id_, text, language, granularity, metadata.encode(), space)


def _some(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _SOME):
        yield values[start : start + _SOME]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _settings_json(settings: CollectionSettings) -> str:
    return json.dumps(
        {**asdict(settings), "index": {**asdict(settings.index)}}, separators=(",", ":")
    )


def _settings_of(text: str) -> CollectionSettings:
    fields = json.loads(text)
    return CollectionSettings(**{**fields, "index": IndexWish(**fields["index"])})
