"""The short form of `python -m benchmarks.crash`, and proof that it would notice."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import crash
from benchmarks.crash import NAME, changes, kill_and_check, vectors
from service.retrieval.folder import Collections
from service.retrieval.values import CollectionSettings


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    held: crash.State = {}
    for seed in range(2):
        held = kill_and_check(tmp_path, seed, held)


def _checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: int, told: int) -> None:
    """Make some changes, say that some were acknowledged, and check."""
    collections = Collections(tmp_path)
    collections.create(NAME, CollectionSettings(24))
    for change in itertools.islice(changes(0), made):
        change.make(collections.get(NAME))
    collections.close()
    monkeypatch.setattr(crash, "_killed", lambda state, seed: told)
    kill_and_check(tmp_path, 0, {})


def test_the_change_under_way_may_be_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _checked(tmp_path / "a", monkeypatch, made=3, told=3)
    _checked(tmp_path / "b", monkeypatch, made=4, told=3)


def test_a_lost_change_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upserts = (n for n, change in enumerate(changes(0)) if change.kind == "upsert")
    lost = next(itertools.islice(upserts, 1, None))
    with pytest.raises(AssertionError, match=f"seed 0, {lost + 1} changes acknowledged"):
        _checked(tmp_path, monkeypatch, made=lost, told=lost + 1)


def test_a_vector_of_another_text_is_noticed(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    collections.create(NAME, CollectionSettings(24))
    collection = collections.get(NAME)
    for change in itertools.islice(changes(0), 5):
        change.make(collection)
    crash._held(collection)
    with collection._store._database.writing() as connection:
        row = vectors(["another text"])[0]
        connection.execute(
            "UPDATE vectors SET vector = ? WHERE key = (SELECT min(key) FROM vectors)",
            (row.tobytes(),),
        )
    try:
        with pytest.raises(AssertionError):
            crash._held(collection)
    finally:
        collections.close()
