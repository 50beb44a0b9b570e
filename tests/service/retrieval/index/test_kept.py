"""Scores by kept vectors are those of brute force, whatever is kept, gone, or cannot be kept."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from service.retrieval.index import Floats, Keys
from service.retrieval.index.kept import Kept
from tests.service.retrieval.index.stored import Stored, full_disk, unit_rows

DIMENSION, COUNT = 24, 500


def _stored() -> Stored:
    stored = Stored(DIMENSION)
    stored.put(np.arange(COUNT), unit_rows(np.random.default_rng(0), COUNT, DIMENSION))
    return stored


def _brute(stored: Stored, queries: Floats, positions: Keys) -> Floats:
    """In float64, one by one."""
    scores = np.full(positions.shape, -np.inf)
    for row, query in enumerate(queries.astype(np.float64)):
        for column, position in enumerate(positions[row].tolist()):
            if position in stored.vectors:
                scores[row, column] = query @ stored.vectors[position].astype(np.float64)
    return scores.astype(np.float32)


def _asked(seed: int, count: int = COUNT) -> tuple[Floats, Keys]:
    """Queries with positions, of which some repeat and some are -1."""
    rng = np.random.default_rng(seed)
    return unit_rows(rng, 7, DIMENSION), rng.integers(-1, count, (7, 30))


def _right(kept: Kept, stored: Stored, queries: Floats, positions: Keys) -> bool:
    scores = kept.scores(queries, positions, stored.fetch)
    return np.allclose(scores, _brute(stored, queries, positions), atol=1e-6)


def test_what_is_fetched_once_is_kept(tmp_path: Path) -> None:
    stored, kept = _stored(), Kept.empty(COUNT, DIMENSION, tmp_path)
    queries, positions = _asked(1)
    assert _right(kept, stored, queries, positions)
    assert stored.fetched == len(np.unique(positions[positions >= 0]))
    stored.fetched = 0
    assert _right(kept, stored, queries, positions)
    assert stored.fetched == 0
    assert _right(kept, stored, *_asked(2))
    assert 0 < stored.fetched < 210
    assert list(tmp_path.iterdir()) == []  # the file ends with the process


def test_a_score_is_the_same_to_the_bit_whether_its_vector_was_kept_or_fetched(
    tmp_path: Path,
) -> None:
    stored, kept = Stored(384), Kept.empty(COUNT, 384, tmp_path)
    rng = np.random.default_rng(0)
    stored.put(np.arange(COUNT), unit_rows(rng, COUNT, 384))
    queries, positions = unit_rows(rng, 7, 384), _asked(1)[1]
    fetched = kept.scores(queries, positions, stored.fetch)
    stored.fetched = 0
    np.testing.assert_array_equal(kept.scores(queries, positions, stored.fetch), fetched)
    assert stored.fetched == 0


def test_what_the_store_no_longer_has_is_no_hit_and_not_kept(tmp_path: Path) -> None:
    stored, kept = _stored(), Kept.empty(COUNT, DIMENSION, tmp_path)
    stored.forget(np.arange(0, COUNT, 3))
    queries, positions = _asked(3)
    assert np.isneginf(kept.scores(queries, positions, stored.fetch)[positions % 3 == 0]).all()
    assert _right(kept, stored, queries, positions)
    assert kept.there.sum() == len(np.unique(positions[(positions >= 0) & (positions % 3 > 0)]))


def test_it_grows_and_its_earlier_self_stays(tmp_path: Path) -> None:
    stored, kept = _stored(), Kept.empty(COUNT, DIMENSION, tmp_path)
    queries, positions = _asked(4)
    kept.scores(queries, positions, stored.fetch)
    more = unit_rows(np.random.default_rng(5), 40, DIMENSION)
    # Another try at the same growth that came to nothing leaves no trace.
    kept.grown(unit_rows(np.random.default_rng(6), 60, DIMENSION))
    grown = kept.grown(more)
    stored.put(np.arange(COUNT, COUNT + 40), more)
    stored.fetched = 0
    new = np.arange(COUNT, COUNT + 40)[None, :].repeat(7, axis=0)
    assert _right(grown, stored, queries, new)
    assert _right(grown, stored, queries, positions)
    assert stored.fetched == 0
    assert _right(kept, stored, queries, positions)
    assert len(kept.rows) == COUNT
    assert _right(grown, stored, *_asked(7, COUNT + 40))


@pytest.mark.parametrize(
    ("module", "name"),
    [(os, "pwrite"), (os, "ftruncate"), (tempfile, "TemporaryFile")],
    ids=["write", "lengthen", "make"],
)
def test_a_full_disk_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    stored = _stored()
    before = Kept.empty(COUNT, DIMENSION, tmp_path)
    before.keep(np.arange(COUNT), stored.fetch(np.arange(COUNT)))
    monkeypatch.setattr(module, name, full_disk)
    kept = Kept.empty(COUNT, DIMENSION, tmp_path)
    more = unit_rows(np.random.default_rng(5), 40, DIMENSION)
    stored.put(np.arange(COUNT, COUNT + 40), more)
    for each in (kept, kept.grown(more), before, before.grown(more)):
        count = len(each.rows)
        for _ in range(2):
            stored.fetched = 0
            assert _right(each, stored, *_asked(1, count))
            assert each is not before or stored.fetched == 0
            assert each is not kept or stored.fetched > 0


def test_threads_that_keep_the_same_rows_find_them_whole(tmp_path: Path) -> None:
    stored, kept = _stored(), Kept.empty(COUNT, DIMENSION, tmp_path)
    wrong: list[int] = []

    def look(seed: int) -> None:
        for turn in range(40):
            if not _right(kept, stored, *_asked(1000 * seed + turn)):
                wrong.append(seed)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert kept.there.all()
