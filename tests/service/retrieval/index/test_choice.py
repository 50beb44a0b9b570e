from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ClientGone, IndexDamaged, InvalidInput, RecallTooLow
from service.faiss_library import blas_core
from service.retrieval.index import Floats, Index, IndexWish, audit, choice, searching, snapshot
from service.retrieval.index import index as index_module
from service.retrieval.index.design import Design, Effort, designs
from service.retrieval.index.snapshot import Snapshot
from service.retrieval.index.structure import Structure
from service.retrieval.values import Cancel
from tests.service.retrieval.index.stored import Stored, full_disk, unit_rows

DIMENSION = 32


def _stored(count: int, seed: int = 0) -> Stored:
    stored = Stored(DIMENSION)
    stored.put(np.arange(count) * 2, unit_rows(np.random.default_rng(seed), count, DIMENSION, 0.7))
    return stored


def _recall(index: Index, stored: Stored, queries: Floats, k: int = 10) -> float:
    keys, vectors = stored.arrays()
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    found = index.search(queries, k).keys
    pairs = zip(found, keys[truth], strict=True)
    return float(np.mean([len(set(a.tolist()) & set(b.tolist())) / k for a, b in pairs]))


@pytest.mark.parametrize("kind", ["auto", "ivf", "hnsw"])
def test_what_is_built_has_the_recall_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(index_module, "_SMALL_BYTES", 0)
    vectors = unit_rows(np.random.default_rng(0), 2100, DIMENSION, 0.7)
    stored, others = Stored(DIMENSION), vectors[2000:]
    stored.put(np.arange(2000) * 2, vectors[:2000])
    index = Index.build(*stored.arrays(), IndexWish(kind), stored.fetch)  # type: ignore[arg-type]
    report = index.report
    assert report.kind == kind or (kind == "auto" and report.kind in ("ivf", "hnsw"))
    assert report.size == 2000
    assert report.audited_queries == 512
    assert min(report.recall, report.filtered_recall) >= 0.95
    assert _recall(index, stored, others) > 0.9


def test_vectors_are_read_from_the_store_at_the_first_search_after_a_start(
    tmp_path: Path,
) -> None:
    stored, queries = _stored(2000), unit_rows(np.random.default_rng(8), 5, DIMENSION)
    wish = IndexWish("ivf", 0.5, None, {"nprobe": 8, "width": 4})
    built = Index.build(*stored.arrays(), wish, stored.fetch, folder=tmp_path)
    built.save(tmp_path / "index", 1)
    stored.fetched = 0
    wanted = built.search(queries, 10)
    assert stored.fetched == 0
    loaded, _ = Index.load(tmp_path / "index", stored.fetch)
    first = loaded.search(queries, 10)
    assert 10 <= stored.fetched <= 5 * 4 * 10
    stored.fetched = 0
    again = loaded.search(queries, 10)
    assert stored.fetched == 0
    for hits in (first, again):
        np.testing.assert_array_equal(hits.keys, wanted.keys)
        np.testing.assert_allclose(hits.scores, wanted.scores, atol=1e-6)


def test_what_a_filter_makes_harder_is_searched_harder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "COMPARED_ROWS", 20)
    monkeypatch.setattr(choice, "COMPARED_ROWS", 20)
    rng = np.random.default_rng(0)
    # Eleven nearly equal ones of each, which any effort finds together; a filter leaves one.
    vectors = np.repeat(unit_rows(rng, 300, DIMENSION), 11, axis=0)
    vectors += 0.02 * rng.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = Stored(DIMENSION)
    stored.put(np.arange(len(vectors)), vectors)
    index = Index.build(*stored.arrays(), IndexWish("ivf"), stored.fetch)
    found = index.report.parameters
    assert found["nprobe"] < found["filtered_nprobe"]
    assert min(index.report.recall, index.report.filtered_recall) >= 0.95
    assert index.effort is not None
    own = {"nprobe": index.effort.reach, "width": index.effort.width}
    with pytest.raises(RecallTooLow, match=r"0\.\d+ under a filter"):
        Index.build(*stored.arrays(), IndexWish("ivf", parameters=own), stored.fetch)


def test_a_snapshot_of_before_filters_had_an_effort_is_read(tmp_path: Path) -> None:
    stored = _stored(2000)
    built = Index.build(*stored.arrays(), IndexWish("ivf", 0.5), stored.fetch)
    built.save(tmp_path / "index", 1)
    saved = snapshot.read(tmp_path / "index")
    del saved.fields["main"]["filtered_effort"]
    snapshot.write(tmp_path / "index", saved)
    index, _ = Index.load(tmp_path / "index", stored.fetch)
    assert index.effort == built.effort
    assert index._state.main is not None
    assert index._state.main.efforts.filtered == built.effort


_CODES_ALONE = 2000 * 100  # the vectors take 128 bytes each


def test_many_candidates_are_told_apart_by_codes_where_vectors_may_lie_on_the_disk(
    tmp_path: Path,
) -> None:
    stored, queries = _stored(2000), unit_rows(np.random.default_rng(8), 5, DIMENSION)
    for width, memory_bytes, read in (
        (8, _CODES_ALONE, 8 * 10),
        (9, _CODES_ALONE, searching.surplus(10)),
        (9, None, 9 * searching.surplus(10)),
    ):
        wish = IndexWish("ivf", 0.5, memory_bytes, {"nprobe": 32, "width": width})
        Index.build(*stored.arrays(), wish, stored.fetch).save(tmp_path / "index", 1)
        loaded, _ = Index.load(tmp_path / "index", stored.fetch)
        stored.fetched = 0
        loaded.search(queries[:1], 10)
        assert stored.fetched == read


def test_what_was_gathered_after_a_start_is_found_as_before(tmp_path: Path) -> None:
    stored, queries = _stored(2000), unit_rows(np.random.default_rng(8), 50, DIMENSION)
    parameters = {"nlist": 64, "nprobe": 16, "width": 20}
    searched: dict[int | None, Floats] = {}
    for memory_bytes in (None, _CODES_ALONE):
        wish = IndexWish("ivf", 0.5, memory_bytes, parameters)
        built = Index.build(*stored.arrays(), wish, stored.fetch, folder=tmp_path)
        built.save(tmp_path / "index", 1)
        index, _ = Index.load(tmp_path / "index", stored.fetch)
        before = index.search(queries[:1], 10)
        index.gather()
        stored.fetched = 0
        index.gather()
        hits = index.search(queries, 10)
        assert (stored.fetched == 0) == (memory_bytes is None)
        np.testing.assert_array_equal(hits.keys, built.search(queries, 10).keys)
        np.testing.assert_array_equal(hits.keys[:1], before.keys)
        searched[memory_bytes] = hits.scores
    # Without the detour by codes no less is found of the same candidates.
    assert (searched[None] >= searched[_CODES_ALONE] - 1e-6).all()


def test_what_is_gathered_is_what_the_store_has_and_the_disk_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, queries = _stored(2000), unit_rows(np.random.default_rng(8), 5, DIMENSION)
    wish = IndexWish("ivf", 0.5, None, {"nprobe": 8, "width": 20})
    built = Index.build(*stored.arrays(), wish, stored.fetch, folder=tmp_path)
    gone = np.arange(0, 400, 2)
    stored.forget(gone)
    built.remove(gone[:100])
    built.save(tmp_path / "index", 1)
    index, _ = Index.load(tmp_path / "index", stored.fetch)
    stored.fetched = 0
    index.gather()
    assert stored.fetched == 1900
    index.remove(gone[100:])
    index.gather()
    index.search(queries, 10)
    assert stored.fetched == 1900

    monkeypatch.setattr(os, "pwrite", full_disk)
    monkeypatch.setattr(index_module, "_FETCHED_ROWS", 500)
    index, _ = Index.load(tmp_path / "index", stored.fetch)
    stored.fetched = 0
    for _ in range(2):
        index.gather()
    assert 0 < stored.fetched <= 500  # one block is tried, and then no more
    built.remove(gone)
    np.testing.assert_allclose(
        index.search(queries, 10).scores, built.search(queries, 10).scores, atol=1e-6
    )


def test_gathering_ends_where_it_is_told_to(tmp_path: Path) -> None:
    stored = _stored(2000)
    wish = IndexWish("ivf", 0.5, None, {"nprobe": 8, "width": 20})
    Index.build(*stored.arrays(), wish, stored.fetch).save(tmp_path / "index", 1)
    index, _ = Index.load(tmp_path / "index", stored.fetch)
    cancel = Cancel()
    cancel.set()
    stored.fetched = 0
    with pytest.raises(ClientGone):
        index.gather(cancel.check)
    assert stored.fetched == 0


def test_too_little_recall_is_refused_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _stored(2000)
    keys, vectors = stored.arrays()
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng, 2000, DIMENSION)  # no clusters: one list of many holds little
    wish = IndexWish("ivf", 0.95, None, {"nlist": 128, "nprobe": 1})
    with pytest.raises(RecallTooLow, match=r"finds 0\.\d+ of the nearest"):
        Index.build(keys, vectors, wish, stored.fetch)


def test_the_audit_tells_what_brute_force_tells() -> None:
    vectors = unit_rows(np.random.default_rng(3), 1500, DIMENSION)
    structure = Structure.build(
        Design("ivf", {"nlist": 32, "pq": 8, "refine": 1}), np.arange(1500) + 7, vectors
    )
    sample = audit.sample(vectors, 100, 0)
    for reach in (1, 4, 32):
        effort = Effort(reach, 16)
        cosines = vectors[sample.rows] @ vectors.T
        cosines[np.arange(100), sample.rows] = -np.inf
        truth = np.argsort(-cosines, axis=1)[:, :10]
        found = structure.candidates(sample.queries, 17, effort, None)
        pairs = zip(found, truth, strict=True)
        brute = np.mean([len(set(a.tolist()) & set(b.tolist())) / 10 for a, b in pairs])
        assert abs(audit.recall(structure, effort, sample) - brute) < 0.01
    assert audit.recall(structure, Effort(1, 16), sample) < 0.8
    filtered = audit.sample(vectors, 100, 0, filtered=True)
    assert filtered.allowed is not None
    assert 100 < len(filtered.allowed) < 220
    assert audit.recall(structure, Effort(32, 16), filtered) > 0.99


def test_memory_decides_what_may_be_built() -> None:
    kinds = [design.kind for design in designs(10_000, 384, IndexWish())]
    assert kinds == ["ivf", "hnsw"]
    (only,) = designs(10_000, 384, IndexWish(memory_bytes=5_000_000))
    assert (only.kind, only.parameters["refine"]) == ("ivf", 1)
    (small,) = designs(10_000, 384, IndexWish(memory_bytes=1_000_000))
    assert (small.kind, small.parameters["refine"]) == ("ivf", 0)
    with pytest.raises(InvalidInput, match="need about 810000"):
        designs(10_000, 384, IndexWish(memory_bytes=1000))
    stored = _stored(100)
    with pytest.raises(InvalidInput, match="flat needs 12800"):
        Index.build(*stored.arrays(), IndexWish("flat", memory_bytes=1000), stored.fetch)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("auto", {"nlist": 3}, "those of a kind"),
        ("ivf", {"m": 3}, "ivf takes nlist"),
        ("hnsw", {"m": 3}, "use 4 to 128"),
        ("ivf", {"pq": 5}, "a divisor of the 32"),
        ("flat", {"m": 4}, "flat takes none"),
    ],
)
def test_parameters_that_a_kind_does_not_take_are_refused(
    kind: str, parameters: dict[str, int], message: str
) -> None:
    stored = _stored(10)
    wish = IndexWish(kind, parameters=parameters)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=message):
        Index.build(*stored.arrays(), wish, stored.fetch)


def test_filters_give_all_that_there_are_however_few_or_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "COMPARED_ROWS", 20)
    stored = _stored(2000)
    wish = IndexWish("ivf", 0.01, None, {"nlist": 64, "nprobe": 1, "width": 2})
    index = Index.build(*stored.arrays(), wish, stored.fetch)
    queries = unit_rows(np.random.default_rng(4), 9, DIMENSION)
    for count in (0, 1, 5, 20, 60, 500, 1999):
        allowed = np.random.default_rng(count).choice(2000, count, replace=False) * 2
        hits = index.search(queries, 40, allowed=allowed)
        assert ((hits.keys >= 0).sum(axis=1) == min(40, count)).all()
        assert set(hits.keys[hits.keys >= 0].tolist()) <= set(allowed.tolist())
    assert (index.search(queries, 1990).keys >= 0).all()


def _due(index: Index) -> str | None:
    """Asked anew each time, as the type checker does not know of a property."""
    return index.due


def test_upkeep_is_due_when_the_index_is_outgrown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_SMALL_BYTES", 1200 * DIMENSION * 4)
    monkeypatch.setattr(index_module, "_NEW_ROWS", 50)
    stored = _stored(1100)
    index = Index.build(*stored.arrays(), IndexWish(), stored.fetch)
    assert (index.report.kind, _due(index)) == ("flat", None)
    more = np.arange(600) * 2 + 1
    stored.put(more, unit_rows(np.random.default_rng(1), 600, DIMENSION))
    index.add(more, stored.fetch(more))
    assert _due(index) == "rebuild"
    index = Index.build(*stored.arrays(), IndexWish("ivf", 0.5), stored.fetch)
    assert (index.report.kind, _due(index)) == ("ivf", None)
    new = np.arange(5000, 5060)
    stored.put(new, unit_rows(np.random.default_rng(2), 60, DIMENSION))
    index.add(new, stored.fetch(new))
    assert _due(index) == "absorb"
    index.absorb()
    assert (_due(index), len(index)) == (None, 1760)
    index.remove(more)
    assert _due(index) == "rebuild"


def test_a_structure_of_another_size_or_no_faiss_is_refused(tmp_path: Path) -> None:
    stored = _stored(1100)
    path = tmp_path / "index"
    Index.build(*stored.arrays(), IndexWish("ivf", 0.5), stored.fetch).save(path, 3)
    whole = snapshot.read(path)
    sections = {name: array.copy() for name, array in whole.sections.items()}
    for change in (
        {"main.keys": sections["main.keys"][:-1]},
        {"main.alive": sections["main.alive"][:-1]},
        {"main.faiss": sections["main.faiss"][:1000]},
        {"main.faiss": np.zeros(100, np.uint8)},
    ):
        snapshot.write(path, Snapshot(3, DIMENSION, whole.fields, {**sections, **change}))
        with pytest.raises(IndexDamaged):
            Index.load(path, stored.fetch)


def test_searches_are_right_beside_writes_and_growth() -> None:
    stored = _stored(1500)
    keys, vectors = stored.arrays()
    truth = dict(zip(keys.tolist(), vectors, strict=True))
    more = unit_rows(np.random.default_rng(9), 1500, DIMENSION, 0.7)
    added = np.arange(1500) * 2 + 1
    truth.update(zip(added.tolist(), more, strict=True))
    everything = Stored(DIMENSION, truth)  # the store keeps all, so that only the index forgets
    wish = IndexWish("ivf", 0.5, None, {"nprobe": 64, "width": 100})
    index = Index.build(keys, vectors, wish, everything.fetch)
    gone: set[int] = set()
    there: set[int] = set()
    faults: list[str] = []
    stop = threading.Event()

    def look(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            forgotten, known = set(gone), list(there)
            queries = np.stack([*(truth[key] for key in known[-5:]), vectors[rng.integers(1500)]])
            hits = index.search(queries, 5)
            if forgotten & set(hits.keys.ravel().tolist()):
                faults.append("a removed key was found")
            if hits.keys[:-1, 0].tolist() != known[-5:]:
                faults.append(f"{known[-5:]} were not found but {hits.keys[:-1, 0].tolist()}")

    lookers = [threading.Thread(target=look, args=(seed,)) for seed in range(3)]
    for looker in lookers:
        looker.start()
    for start in range(0, 1500, 100):
        some = added[start : start + 100]
        index.add(some, more[start : start + 100])
        there.update(some[-1:].tolist())
        old = keys[start : start + 60]
        index.remove(old)
        gone.update(old.tolist())
        if start % 300 == 0:
            index.absorb()
    stop.set()
    for looker in lookers:
        looker.join()
    assert faults == []
    assert len(index) == 1500 + 1500 - 900


def test_kernels_are_named_for_intel_alone() -> None:
    intel = "vendor_id\t: GenuineIntel\nflags\t\t: sse avx2{}\nbugs\t:\n"
    assert blas_core(intel.format(" avx512f avx512bw avx512vl avx512dq")) == "SkylakeX"
    assert blas_core(intel.format("")) == "Haswell"
    assert blas_core("vendor_id\t: GenuineIntel\nflags\t\t: sse\n") is None
    assert blas_core(intel.format("").replace("GenuineIntel", "AuthenticAMD")) is None


def test_writes_while_the_structure_grows_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _stored(1100)
    index = Index.build(*stored.arrays(), IndexWish("ivf", 0.5), stored.fetch)
    new = np.arange(5000, 5060)
    stored.put(new, unit_rows(np.random.default_rng(2), 60, DIMENSION))
    index.add(new, stored.fetch(new))
    known = Stored(DIMENSION, dict(stored.vectors))  # the store keeps all; only the index forgets
    index._fetch = known.fetch
    grown = Structure.grown
    again = unit_rows(np.random.default_rng(3), 10, DIMENSION)

    def grow(structure: Structure, *more: Any) -> Structure:  # noqa: ANN401
        copy = grown(structure, *more)
        index.remove(np.array([0, *new[:10]]))
        index.add(new[10:20], again)
        return copy

    monkeypatch.setattr(Structure, "grown", grow)
    index.absorb()
    hits = index.search(again[:1], 1160)
    found = hits.keys[hits.keys >= 0].tolist()
    assert len(found) == len(set(found)) == len(index) == 1160 - 11
    assert not {0, *new[:10].tolist()} & set(found)
    assert hits.keys[0, 0] == new[10]
