"""What a collection promises beside others at work, and what it says when the disk fails it."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from service.errors import (
    ClientGone,
    Conflict,
    InvalidInput,
    NotComparable,
    NotFound,
    RecallTooLow,
    StorageFull,
    StorageUnavailable,
)
from service.retrieval import indexes, searching, store
from service.retrieval.collection import DATABASE_NAME, Collection
from service.retrieval.database import Database, storage_errors
from service.retrieval.filters import parse_filter
from service.retrieval.folder import Collections
from service.retrieval.index import Index, IndexWish
from service.retrieval.schema import COLLECTION
from service.retrieval.searching import Query
from service.retrieval.store import View
from service.retrieval.values import Cancel, CollectionSettings, Floats, Found
from tests.service.retrieval.made import DIMENSIONS, OTHER, SPACE, entry, unit

SETTINGS = CollectionSettings(DIMENSIONS)


@pytest.fixture
def docs(collections: Collections) -> Collection:
    """An empty collection."""
    collections.create("docs", SETTINGS)
    return collections.get("docs")


def found(collection: Collection, queries: Floats, **more: object) -> list[list[str]]:
    query = Query(queries=len(queries), **more)  # type: ignore[arg-type]
    spaces = dict.fromkeys(collection.spaces(), queries)
    return [[hit.document.id for hit in hits] for hits in collection.search(query, spaces)]


def test_a_text_that_was_removed_does_not_come_back(docs: Collection) -> None:
    rows = unit(3)
    docs.upsert([entry("a"), entry("b"), entry("c")], rows)
    assert found(docs, rows[:1], top_k=1) == [["a"]]
    docs.delete_ids(["a"])
    assert "a" not in found(docs, rows[:1])[0]
    docs.upsert([entry("b", "another")], rows[2:])
    (hits,) = docs.search(Query(queries=1), dict.fromkeys(docs.spaces(), rows[1:2]))
    assert {hit.document.text for hit in hits} == {"another", "text of c"}


@pytest.mark.parametrize("held", [False, True])
def test_a_search_sees_a_whole_upsert_or_none(
    docs: Collection, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Two spaces, so that a write changes two indexes, one after the other."""
    if held:
        monkeypatch.setattr("service.retrieval.collection._FREE_ATTEMPTS", 0)
    rows = unit(2)
    ids = [("a", SPACE), ("b", OTHER)]
    stop = threading.Event()

    def write() -> None:
        version = 0
        while not stop.is_set():
            version += 1
            entries = [entry(id_, str(version), space=space) for id_, space in ids]
            docs.upsert(entries, rows)
            if version % 5 == 0:
                docs.delete_ids(["a", "b"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: set[str | None] = set()
        for _ in range(5_000):
            if len(seen) >= 5:
                break
            (hits,) = docs.search(Query(queries=1), dict.fromkeys((1, 2), rows[:1]))
            assert len(hits) in (0, 2)
            assert len({hit.document.text for hit in hits}) <= 1
            seen |= {hit.document.text for hit in hits}
    finally:
        stop.set()
        writer.join()
    assert len(seen) >= 5


@contextmanager
def _breaking_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A write in here ends before it is committed."""

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("service.retrieval.store._set_sequence", broken)
        yield


def test_a_write_that_breaks_off_leaves_nothing(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit(3)
    docs.upsert([entry("a")], rows[:1])

    with _breaking_off(monkeypatch), pytest.raises(KeyboardInterrupt):
        docs.upsert([entry("a", "new"), entry("b")], rows[1:])
    assert docs.count() == 1
    assert found(docs, rows[:1]) == [["a"]]
    docs.upsert([entry("b")], rows[1:2])
    assert found(docs, rows[1:2], top_k=1) == [["b"]]


def test_a_full_disk_is_said_and_loses_nothing(docs: Collection) -> None:
    rows = unit(64)
    docs.upsert([entry("kept")], rows[:1])
    writer = docs._store._database._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StorageFull, match=r"is full; nothing of this write was kept"):
        docs.upsert([entry(f"d{n}", "long " * 999) for n in range(64)], rows)
    assert found(docs, rows[:1]) == [["kept"]]
    writer.execute("PRAGMA max_page_count = 100000")
    docs.upsert([entry("later")], rows[1:2])
    assert docs.count() == 2


@pytest.mark.parametrize(("free", "said"), [(7, StorageFull), (8, StorageUnavailable)])
def test_a_disk_that_fails_for_want_of_room_is_said_to_be_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: type[Exception]
) -> None:
    there = SimpleNamespace(f_bavail=free, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda folder: there)
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    with pytest.raises(said), storage_errors(tmp_path / DATABASE_NAME):
        raise failed


def test_a_disk_that_cannot_be_written_is_said(docs: Collection) -> None:
    rows = unit(1)
    docs.upsert([entry("kept")], rows)
    docs._store._database._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        docs.delete_ids(["kept"])
    assert found(docs, rows) == [["kept"]]


def test_an_index_that_cannot_be_saved_loses_nothing(
    docs: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    docs.upsert([entry("a")], unit(1))
    monkeypatch.setattr(Index, "save", full)
    with caplog.at_level(logging.WARNING):
        docs._indexes.save()
    assert "index_not_saved" in caplog.text
    assert found(docs, unit(1)) == [["a"]]


def _reopened(docs: Collection) -> Collection:
    docs.abandon()
    return Collection.open("docs", docs.folder, lambda _: None)


def test_damaged_and_foreign_indexes_are_set_aside(
    docs: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    rows = unit(3)
    docs.upsert([entry("a"), entry("b")], rows[:2])
    docs._indexes.save()
    (file,) = docs.folder.glob("*.index")
    whole = file.read_bytes()
    docs.upsert([entry("c")], rows[2:])
    # A whole file of another history, as a restored backup leaves it, and one of later changes.
    index = Index.build(np.arange(2), rows[:2], IndexWish(), docs._store.fetch)
    for content in (b"", whole[:100], whole[:-1] + b"x", b"faiss" * 100, "foreign", "later"):
        file.unlink(missing_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            index.save(file, 1 if content == "foreign" else 99)
        caplog.clear()
        docs = _reopened(docs)
        assert "index_damaged" in caplog.text
        assert found(docs, rows, top_k=1) == [["a"], ["b"], ["c"]]
        assert len(list(docs.folder.glob("*.damaged-*"))) == 1
        for each in docs.folder.glob("*.damaged-*"):
            each.unlink()
    docs.abandon()


def test_an_index_is_loaded_and_brought_up_to_date(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit(4)
    docs.upsert([entry("a"), entry("b"), entry("c")], rows[:3])
    docs._indexes.save()
    docs.delete_ids(["a"])
    docs.upsert([entry("b", "another"), entry("d")], rows[[3, 0]])
    with monkeypatch.context() as patch:
        patch.setattr(Index, "build", None)
        docs = _reopened(docs)
    assert found(docs, rows, top_k=1) == [["d"], *found(docs, rows[1:2], top_k=1), ["c"], ["b"]]
    assert sorted(found(docs, rows[:1])[0]) == ["b", "c", "d"]
    docs.abandon()


def test_an_index_behind_what_is_still_known_is_built_anew(docs: Collection) -> None:
    rows = unit(2)
    docs.upsert([entry("a"), entry("b")], rows)
    docs._indexes.save()
    docs.delete_ids(["a"])
    docs._store.forget(3)
    docs = _reopened(docs)
    assert found(docs, rows[:1]) == [["b"]]
    docs.abandon()


def test_a_large_index_that_is_lost_is_searched_exactly_until_it_is_built(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit(3)
    docs.upsert([entry("a"), entry("b"), entry("c")], rows)
    monkeypatch.setattr(indexes, "_QUICK_VECTORS", 1)
    docs = _reopened(docs)
    assert docs._indexes._kept[1].provisional
    assert found(docs, rows, top_k=1) == [["a"], ["b"], ["c"]]
    docs._indexes.tend()
    assert not docs._indexes._kept[1].provisional
    assert found(docs, rows, top_k=1) == [["a"], ["b"], ["c"]]
    docs.abandon()


def test_a_build_below_the_recall_is_not_published(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs.upsert([entry("a")], unit(1))
    before = docs.report().spaces[0].index

    def too_low(*_: object, **__: object) -> Index:
        raise RecallTooLow("recall is 0.5")

    monkeypatch.setattr(Index, "build", too_low)
    with pytest.raises(RecallTooLow):
        docs.rebuild(IndexWish(recall=1.0))
    assert docs.settings.index == IndexWish()
    assert docs.report().spaces[0].index == before
    assert found(docs, unit(1)) == [["a"]]


def test_ids_are_told_without_reading_documents(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_IDS", 5)  # so that they are forgotten again and again
    rows = unit(12)
    docs.upsert([entry(f"d{n}") for n in range(12)], rows)
    query, spaces = Query(queries=12, top_k=3), {1: rows}

    def by_id(hits: list[Found]) -> dict[str, float]:
        return {hit.document.id: hit.score for hit in hits}

    wanted = [by_id(hits) for hits in docs.search(query, spaces)]
    monkeypatch.setattr(View, "by_keys", None)
    for _ in range(3):
        named = docs.search_ids(query, spaces)
        assert [dict(zip(each.ids, each.scores, strict=True)) for each in named] == wanted
        assert all(each.scores == sorted(each.scores, reverse=True) for each in named)
    nothing = docs.search_ids(Query(queries=12, min_score=1.5), spaces)
    assert [(each.ids, each.scores) for each in nothing] == [([], [])] * 12


def test_an_id_of_a_write_that_broke_off_is_never_told(
    docs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit(2)
    docs.upsert([entry("a")], rows[:1])

    with _breaking_off(monkeypatch), pytest.raises(KeyboardInterrupt):
        docs.upsert([entry("b")], rows[1:])
    docs.upsert([entry("c")], rows[1:])  # under the key that b had
    (named,) = docs.search_ids(Query(queries=1, top_k=1), {1: rows[1:]})
    assert named.ids == ["c"]
    docs.delete_ids(["c"])
    (named,) = docs.search_ids(Query(queries=1), {1: rows[1:]})
    assert named.ids == ["a"]


def test_what_does_not_compare_is_refused(docs: Collection) -> None:
    docs.upsert([entry("a"), entry("b", space=OTHER, granularity="phrase")], unit(2))
    number = next(n for n, space in docs.spaces().items() if space == SPACE)
    with pytest.raises(NotComparable, match=r"vectors of tiny 0\.1\.0, adapter phrase"):
        docs.search(Query(queries=1), {number: unit(1)})
    one = parse_filter({"field": "granularity", "eq": "sentence"})
    (hits,) = docs.search(Query(queries=1, condition=one), {number: unit(1)})
    assert [hit.document.id for hit in hits] == ["a"]


def test_csls_is_what_its_definition_says(docs: Collection) -> None:
    rows, queries = unit(30), unit(14, seed=1)
    docs.upsert([entry(f"d{n}") for n in range(30)], rows)
    cosines = queries @ rows.T
    near = np.sort(cosines, axis=1)[:, -10:].mean(axis=1)
    density = np.sort(cosines, axis=0)[-10:].mean(axis=0)
    scores = 2 * cosines - near[:, None] - density
    results = docs.search(Query(queries=14, score="csls", top_k=5), {1: queries})
    for row, hits in zip(scores, results, strict=True):
        assert [hit.document.id for hit in hits] == [f"d{n}" for n in np.argsort(-row)[:5]]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(row)[::-1][:5], atol=1e-5)


def test_csls_of_one_query_ranks_as_the_cosine(docs: Collection) -> None:
    docs.upsert([entry(f"d{n}") for n in range(30)], unit(30))
    query = unit(1, seed=1)
    assert found(docs, query, score="csls") == found(docs, query)


def test_searches_are_bounded(docs: Collection) -> None:
    docs.upsert([entry("a")], unit(1))
    with pytest.raises(InvalidInput, match="csls would look at 300000 candidates"):
        docs.search(Query(queries=3_000, score="csls"), {1: np.repeat(unit(1), 3_000, axis=0)})
    with pytest.raises(InvalidInput, match="101 queries with top_k 1000 are more than 100000"):
        docs.search(Query(queries=101, top_k=1_000), {1: np.repeat(unit(1), 101, axis=0)})


def test_balance_over_too_many_languages_is_refused(docs: Collection) -> None:
    codes = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefghi"][: searching.MAX_BALANCED + 1]
    docs.upsert([entry(code, language=code) for code in codes], unit(len(codes)))
    with pytest.raises(InvalidInput, match="balance is true over 65 languages"):
        found(docs, unit(1), balance=True)


def test_a_cancelled_search_stops(docs: Collection) -> None:
    docs.upsert([entry("a")], unit(1))
    cancel = Cancel()
    cancel.set()
    with pytest.raises(ClientGone):
        docs.search(Query(queries=1), {1: unit(1)}, cancel)
    slow = parse_filter({"not": {"or": [{"field": "metadata.a", "eq": n} for n in range(900)]}})
    docs.upsert([entry(f"d{n}", a=1_000) for n in range(300)], unit(300))
    with pytest.raises(ClientGone):
        docs.count(slow, cancel)


def test_workers_of_one_server_see_each_others_writes(tmp_path: Path) -> None:
    one, other = (Collections(tmp_path, owner=7) for _ in range(2))
    rows = unit(3)
    one.create("docs", SETTINGS)
    assert not other.create("docs", SETTINGS)
    one.get("docs").upsert([entry("a"), entry("b")], rows[:2])
    assert found(other.get("docs"), rows, top_k=1)[:2] == [["a"], ["b"]]
    other.get("docs").delete_ids(["a"])
    other.get("docs").upsert([entry("c")], rows[2:])
    assert sorted(found(one.get("docs"), rows[:1])[0]) == ["b", "c"]
    one.delete("docs")
    with pytest.raises(NotFound):
        other.get("docs")
    other.create("docs", SETTINGS)
    assert one.get("docs").count() == 0
    one.close()
    other.close()


def test_another_server_is_refused_and_told_which(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from service.retrieval.folder import Collections
held = Collections(Path({str(tmp_path)!r}))
held.names()
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        second = Collections(tmp_path)
        with pytest.raises(
            StorageUnavailable, match=f"in use by another server, process {process.pid};"
        ):
            second.names()
        process.kill()
        process.wait()
        assert second.names() == []
        second.close()


def test_what_was_half_made_or_half_removed_is_cleared(tmp_path: Path) -> None:
    for name in (".making-x-1", ".removing-y-1"):
        (tmp_path / "collections" / name).mkdir(parents=True)
        (tmp_path / "collections" / name / DATABASE_NAME).write_bytes(b"")
    collections = Collections(tmp_path)
    assert collections.names() == []
    assert list((tmp_path / "collections").iterdir()) == []
    collections.close()


def test_settings_that_differ_are_a_conflict(collections: Collections) -> None:
    collections.create("docs", SETTINGS)
    other = CollectionSettings(DIMENSIONS, "phrase")
    with pytest.raises(Conflict, match="its granularity is 'auto'"):
        collections.create("docs", other)
    assert not collections.create("docs", other, ["dimensions"])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "é", "x" * 101, "-a", "a\n"])
def test_a_name_that_no_folder_should_have_is_refused(collections: Collections, name: str) -> None:
    for work in (collections.get, collections.delete, lambda n: collections.create(n, SETTINGS)):
        with pytest.raises(InvalidInput, match="the name of a collection is"):
            work(name)


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("PRAGMA user_version = 1")
    database.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_not_a_database, "is damaged"),
        (_newer, "update Polygrain"),
        (_foreign, "not a collection of Polygrain"),
        (Path.unlink, "holds no documents.sqlite"),
    ],
)
def test_what_is_no_collection_is_said(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    Collection.create(tmp_path, SETTINGS)
    for extra in tmp_path.glob("*-*"):
        extra.unlink()
    spoil(tmp_path / DATABASE_NAME)
    with pytest.raises(StorageUnavailable, match=said):
        Collection.open("docs", tmp_path, lambda _: None)


def test_a_commit_is_synced(tmp_path: Path) -> None:
    Collection.create(tmp_path, SETTINGS)
    database = Database(tmp_path / DATABASE_NAME, COLLECTION)
    with database.writing() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    database.close()
