"""The benchmark of vector search compares like with like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.retrieval import vectors
from benchmarks.retrieval.ingest import ingest_rate
from benchmarks.retrieval.report import table
from models.bundle import Bundle
from service.retrieval.index import Floats, IndexWish
from tests.tiny_bundle import DIMENSION, WORDS
from tests.tiny_training import write_table
from training.corpora.rows import Row


def _unit(count: int, dimension: int) -> Floats:
    rows = np.random.default_rng(0).normal(size=(count, dimension))
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_tiled_vectors_are_near_the_real_ones_and_queries_are_none_of_them() -> None:
    real = _unit(120, 32)
    data = vectors.tiled(real, 250, 20)
    assert data.base.shape == (250, 32)
    assert data.real == 100
    np.testing.assert_array_equal(data.base[:100], real[:100])
    np.testing.assert_array_equal(data.queries, real[100:])
    np.testing.assert_allclose(np.linalg.norm(data.base, axis=1), 1, atol=1e-5)
    cosines = (data.base[100:200] * real[:100]).sum(axis=1)
    assert 0.8 < cosines.mean() < 0.95
    assert vectors.tiled(real, 50, 20).base.shape == (50, 32)


def test_texts_are_embedded_once_and_kept(tiny_bundle: Bundle, tmp_path: Path) -> None:
    rows = [
        Row(str(place), "s", "CC0-1.0", "phrase", "en", f"{one} {other}")
        for place, (one, other) in enumerate((a, b) for a in WORDS[:8] for b in WORDS[:8])
    ]
    corpus = write_table(tmp_path / "corpus.parquet", rows)
    cache = tmp_path / "made" / "vectors.npy"
    made = vectors.embedded(corpus, tiny_bundle.path, 40, cache)
    assert made.shape == (40, DIMENSION)
    assert len(np.unique(made, axis=0)) > 30
    again = vectors.embedded(Path("nowhere"), Path("nowhere"), 30, cache)
    np.testing.assert_array_equal(again, made[:30])
    with pytest.raises(ValueError, match="distinct texts; ask for fewer"):
        vectors.embedded(corpus, tiny_bundle.path, 500, tmp_path / "more.npy")


@dataclass(frozen=True)
class _Side:
    name: str
    build_s: float
    bytes: int


def test_the_table_has_medians_and_ratios_to_the_first() -> None:
    times: Mapping[tuple[str, float, int], list[float]] = {
        ("ours", 0.9, 1): [0.01, 0.02, 0.04],
        ("theirs", 0.9, 1): [0.02, 0.02, 0.02],
    }
    sides = [_Side("ours", 1.25, 3_000_000), _Side("theirs", 2, 0), _Side("low", 3, 0)]
    lines = table(sides, times, [0.9], [1]).splitlines()
    assert "| ours | 1.2 | 3 | 50 |" in lines
    assert "| low | 3.0 | 0 | not reached |" in lines
    assert "| theirs | 1.00 (0.50 to 2.00) |" in lines
    assert "| low | – |" in lines


def test_vectors_taken_in_are_counted() -> None:
    line = ingest_rate(_unit(3000, 16))
    assert line.startswith("ours, 300 vectors added to 2700 in batches of 1000: ")


def test_a_collection_is_measured_by_the_ids_that_it_answers_with() -> None:
    pytest.importorskip("hnswlib")
    pytest.importorskip("usearch")
    from benchmarks.retrieval import sides

    rows = _unit(1507, 16)
    vectors, queries = rows[:1500], rows[1500:]
    (searcher,) = sides._collection(IndexWish("ivf", 0.8))(vectors).values()
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    shares = []
    for effort in (searcher.efforts[0], searcher.efforts[-1]):
        found = searcher.search(queries, 10, effort)
        assert [len(each.scores) for each in found] == [10] * 7
        keys = searcher.keys(found)
        assert keys.shape == (7, 10)
        pairs = zip(keys.tolist(), truth.tolist(), strict=True)
        shares.append(np.mean([len(set(one) & set(other)) / 10 for one, other in pairs]))
    assert shares[0] < shares[1] > 0.8
