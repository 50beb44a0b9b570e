from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from service.faiss_library import faiss
from service.retrieval.index import Floats, Index, IndexWish, Keys
from service.retrieval.index import index as index_module
from service.retrieval.index.gpu import GpuWish, Mirror, Worker, missing
from tests.service.retrieval.index.stored import Stored, unit_rows

DIMENSION = 16
# The lists find next to nothing, so what is found comes from the mirror.
BLIND = IndexWish("ivf", 0.001, None, {"nlist": 64, "nprobe": 1, "width": 1}, device="cuda")
no_gpu = missing()


def _flat_mirror(vectors: Floats) -> Mirror:
    """A mirror around the CPU's flat index, which has the same methods."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return Mirror(index, None)


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> tuple[Index, Stored]:
    """An index of 300 vectors whose mirror stands in memory."""
    monkeypatch.setattr(index_module, "_LEAST_ROWS", 15)
    monkeypatch.setattr(
        Mirror,
        "of",
        lambda blocks, rows, dimension, wish: _flat_mirror(np.concatenate(list(blocks))),
    )
    stored = Stored(DIMENSION)
    stored.put(np.arange(300) * 3, unit_rows(np.random.default_rng(0), 300, DIMENSION))
    return Index.build(*stored.arrays(), BLIND, stored.fetch), stored


def _assert_exact(index: Index, stored: Stored, k: int = 12) -> None:
    queries = unit_rows(np.random.default_rng(5), 9, DIMENSION)
    hits = index.search(queries, k)
    for query, scores, keys in zip(queries, hits.scores, hits.keys, strict=True):
        cosines = stored.cosines(query)
        wanted = sorted(cosines.values(), reverse=True)[:k]
        np.testing.assert_allclose(scores, wanted, atol=1e-6)
        np.testing.assert_allclose([cosines[key] for key in keys.tolist()], wanted, atol=1e-6)


def test_the_mirror_finds_all_through_writes_and_growth(mirrored: tuple[Index, Stored]) -> None:
    index, stored = mirrored
    _assert_exact(index, stored)
    gone = np.arange(0, 90, 3)
    stored.forget(gone)
    index.remove(gone)
    _assert_exact(index, stored)
    keys = np.arange(80, 140)
    vectors = unit_rows(np.random.default_rng(1), 60, DIMENSION)
    stored.put(keys, vectors)
    index.add(keys, vectors)
    _assert_exact(index, stored)
    index.absorb()
    _assert_exact(index, stored)


def test_a_gpu_that_fails_is_told_once_and_the_cpu_searches(
    mirrored: tuple[Index, Stored],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    index, stored = mirrored

    def fail(self: Mirror, queries: Floats, k: int) -> None:
        raise RuntimeError("Error in GPU:\nCUDA error 700 an illegal memory access")

    monkeypatch.setattr(Worker, "search", fail)
    query = stored.vectors[3][None]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert index.search(query, 1).keys.tolist() == [[3]]
    assert [record.message for record in caplog.records] == [
        "index_without_gpu reason='CUDA error 700 an illegal memory access'; searched on the CPU"
    ]


@pytest.mark.skipif(no_gpu is None, reason="there is a GPU here")
def test_without_a_gpu_one_warning_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Mirror.of([], 0, DIMENSION, GpuWish()) is None
    (record,) = caplog.records
    assert str(no_gpu) in record.message


@pytest.mark.skipif(no_gpu is not None, reason=f"no GPU: {no_gpu}")
@pytest.mark.parametrize("float16", [True, False])
def test_a_gpu_finds_what_brute_force_finds(float16: bool) -> None:
    rows = unit_rows(np.random.default_rng(0), 5000, 384)
    mirror = Mirror.of([rows[:3000], rows[3000:]], 5000, 384, GpuWish(float16=float16))
    assert mirror is not None
    queries = unit_rows(np.random.default_rng(1), 70, 384)
    found = mirror.search(queries, 20)
    assert found is not None
    wanted = np.sort(queries @ rows.T, axis=1)[:, ::-1][:, :20]
    np.testing.assert_allclose(found[0], wanted, atol=1e-3 if float16 else 1e-5)
    assert Mirror.of([rows], 5000, 384, GpuWish(memory_bytes=1000)) is None


def test_those_that_wait_are_searched_together_and_get_their_own() -> None:
    rows = unit_rows(np.random.default_rng(0), 50, 4)
    sizes: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def search(queries: Floats, k: int) -> tuple[Floats, Keys]:
        sizes.append(len(queries))
        entered.set()
        assert go_on.wait(10)
        order = np.argsort(-(queries @ rows.T), axis=1)[:, :k]
        return np.take_along_axis(queries @ rows.T, order, axis=1), order

    worker = Worker(search)
    found: dict[int, Keys] = {}

    def ask(number: int) -> None:
        found[number] = worker.search(rows[number : number + 2], 1 + number % 3)[1]

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    askers[0].start()
    assert entered.wait(10)
    for asker in askers[1:]:
        asker.start()
    while len(worker._waiting) < 5:
        threading.Event().wait(0.001)
    go_on.set()
    for asker in askers:
        asker.join()
    assert sizes == [2, 10]
    for number, keys in found.items():
        assert keys.shape == (2, 1 + number % 3)
        assert keys[:, 0].tolist() == [number, number + 1]


def test_a_search_that_fails_ends_for_all_who_asked() -> None:
    def search(queries: Floats, k: int) -> tuple[Floats, Keys]:
        raise RuntimeError("no memory")

    worker = Worker(search)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            worker.search(np.zeros((1, 4), np.float32), 1)
