from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.retrieval.index import exact
from tests.service.retrieval.index.stored import unit_rows


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 9), st.integers(0, 40), st.integers(1, 50), st.integers(1, 13))
def test_the_nearest_are_those_of_a_full_sort(
    data: st.DataObject, queries_count: int, rows_count: int, k: int, block: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    queries, rows = unit_rows(rng, queries_count, 8), unit_rows(rng, rows_count, 8)
    mask = rng.random(rows_count) < 0.5 if data.draw(st.booleans()) else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK_ROWS", block)
        scores, numbers = exact.nearest(queries, rows, k, mask)
    assert scores.shape == numbers.shape == (queries_count, k)
    able = np.flatnonzero(mask) if mask is not None else np.arange(rows_count)
    for query, row_scores, row_numbers in zip(queries, scores, numbers, strict=True):
        wanted = sorted(((float(rows[row] @ query), row) for row in able), reverse=True)[:k]
        found = row_numbers[: len(wanted)]
        np.testing.assert_allclose(row_scores[: len(wanted)], [s for s, _ in wanted], atol=1e-6)
        np.testing.assert_allclose(rows[found] @ query, row_scores[: len(wanted)], atol=1e-6)
        assert len(set(found.tolist())) == len(wanted)
        assert set(found.tolist()) <= set(able.tolist())
        assert (row_numbers[len(wanted) :] == -1).all()
        assert np.isneginf(row_scores[len(wanted) :]).all()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 1 << 30), st.integers(0, 4), st.integers(0, 60), st.integers(1, 12))
def test_the_best_are_those_of_a_full_sort_however_many_there_are(
    seed: int, rows: int, columns: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(columns, dtype=np.float32), (rows, 1)), axis=1)
    numbers = rng.integers(0, 1000, (rows, columns))
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    best, found = exact.best(scores, numbers, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    width = min(k, columns)
    np.testing.assert_array_equal(best[:, :width], np.take_along_axis(scores, order, axis=1))
    there = np.isfinite(best[:, :width])
    wanted = np.take_along_axis(numbers, order, axis=1)
    np.testing.assert_array_equal(found[:, :width][there], wanted[there])
    assert np.isneginf(best[:, width:]).all()
    assert (found[:, width:] == -1).all()
