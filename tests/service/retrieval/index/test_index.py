from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from service.errors import InvalidInput
from service.retrieval.index import Index, IndexWish, Keys, searching
from service.retrieval.index import index as index_module
from tests.service.retrieval.index.stored import Stored, unit_rows

DIMENSION = 8
_key_lists = st.lists(st.integers(0, 60), max_size=20, unique=True)


def _keys(values: list[int]) -> Keys:
    return np.array(values, np.int64)


class AnyIndex(RuleBasedStateMachine):
    """Whatever is written, a search finds what brute force over a plain dict finds.

    The approximate kinds are told to look everywhere, so that they find everything but what codes
    of eight bits misplace.
    """

    folder: Path
    wish = IndexWish()
    tolerance = 1e-6

    @initialize(
        keys=st.lists(st.integers(0, 60), max_size=60, unique=True), seed=st.integers(0, 1 << 30)
    )
    def build(self, keys: list[int], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.stored = Stored(DIMENSION)
        self.stored.put(_keys(keys), unit_rows(self.rng, len(keys), DIMENSION))
        self.rebuild()

    @rule()
    def rebuild(self) -> None:
        self.index = Index.build(*self.stored.arrays(), self.wish, self.stored.fetch)

    @rule()
    def absorb(self) -> None:
        self.index.absorb()

    @rule()
    def gather(self) -> None:
        self.index.gather()

    @rule(keys=_key_lists)
    def add(self, keys: list[int]) -> None:
        vectors = unit_rows(self.rng, len(keys), DIMENSION)
        self.stored.put(_keys(keys), vectors)
        self.index.add(_keys(keys), vectors)

    @rule(keys=_key_lists)
    def remove(self, keys: list[int]) -> None:
        self.stored.forget(_keys(keys))
        self.index.remove(_keys(keys))

    @rule(sequence=st.integers(0, 1 << 40))
    def save_and_load(self, sequence: int) -> None:
        report = self.index.report
        self.index.save(self.folder / "index", sequence)
        self.index, found = Index.load(self.folder / "index", self.stored.fetch)
        assert found == sequence
        assert self.index.report.when == report.when
        assert self.index.report.size == report.size

    @rule(
        queries=st.integers(0, 6),
        k=st.integers(1, 70),
        allowed=st.none() | st.lists(st.integers(0, 90), max_size=80),
    )
    def search(self, queries: int, k: int, allowed: list[int] | None) -> None:
        vectors = unit_rows(self.rng, queries, DIMENSION)
        among = None if allowed is None else _keys(allowed)
        hits = self.index.search(vectors, k, allowed=among)
        assert hits.scores.shape == hits.keys.shape == (queries, k)
        for query, scores, keys in zip(vectors, hits.scores, hits.keys, strict=True):
            cosines = self.stored.cosines(query, among)
            wanted = sorted(cosines.values(), reverse=True)[:k]
            found = keys[: len(wanted)].tolist()
            np.testing.assert_allclose(scores[: len(wanted)], wanted, atol=self.tolerance)
            exact = [cosines[key] for key in found]
            np.testing.assert_allclose(scores[: len(wanted)], exact, atol=1e-6)
            assert len(set(found)) == len(found)
            assert (keys[len(wanted) :] == -1).all()
            assert np.isneginf(scores[len(wanted) :]).all()

    @invariant()
    def counts(self) -> None:
        assert len(self.index) == self.index.report.size == len(self.stored.vectors)


@pytest.mark.parametrize(
    ("wish", "tolerance", "at_once"),
    [
        (IndexWish(), 1e-6, 4),
        (IndexWish("ivf", 0.1, None, {"nlist": 2, "nprobe": 2, "width": 1000}), 0.02, 4),
        # The codes of eight bits are passed over: exact, too.
        (IndexWish("ivf", 0.1, None, {"nlist": 2, "nprobe": 2, "width": 1000}), 1e-6, 1000),
        (
            # All lists probed and all candidates compared: exact, whatever the codes lose.
            IndexWish(
                "ivf", 0.1, None, {"nlist": 2, "nprobe": 2, "refine": 0, "pq": 8, "width": 1000}
            ),
            1e-6,
            4,
        ),
        (IndexWish("hnsw", 0.1, None, {"ef_search": 1000}), 0.02, 4),
    ],
    ids=["flat", "ivf", "ivf-at-once", "ivf-small", "hnsw"],
)
def test_an_index_is_a_dict_searched_by_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: IndexWish, tolerance: float, at_once: int
) -> None:
    monkeypatch.setattr(searching, "_AT_ONCE", at_once)
    monkeypatch.setattr(index_module, "_LEAST_ROWS", 15)
    monkeypatch.setattr(searching, "COMPARED_ROWS", 5)
    values = {"folder": tmp_path, "wish": wish, "tolerance": tolerance}
    machine = type("Machine", (AnyIndex,), values)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )


@pytest.mark.parametrize("shape", [(8,), (2, 7), (1, 2, 8)])
def test_queries_of_another_dimension_are_refused(shape: tuple[int, ...]) -> None:
    stored = Stored(DIMENSION)
    index = Index.build(*stored.arrays(), IndexWish(), stored.fetch)
    with pytest.raises(InvalidInput, match=r"takes \(n, 8\)"):
        index.search(np.zeros(shape, np.float32), 3)
    with pytest.raises(InvalidInput, match="at least 1"):
        index.search(np.zeros((1, 8), np.float32), 0)


def test_keys_that_repeat_or_are_negative_are_refused() -> None:
    stored = Stored(DIMENSION)
    vectors = unit_rows(np.random.default_rng(0), 2, DIMENSION)
    index = Index.build(*stored.arrays(), IndexWish(), stored.fetch)
    for keys, message in ([3, 3], "repeat"), ([-1, 3], "zero and more"):
        with pytest.raises(ValueError, match=message):
            Index.build(_keys(keys), vectors, IndexWish(), stored.fetch)
        with pytest.raises(ValueError, match=message):
            index.add(_keys(keys), vectors)
    with pytest.raises(InvalidInput, match="holds 8"):
        index.add(_keys([1]), np.zeros((1, 7), np.float32))


@pytest.mark.parametrize(
    ("wish", "param"),
    [({"kind": "tree"}, "kind"), ({"recall": 1.5}, "recall"), ({"memory_bytes": 0}, "memory")],
)
def test_wishes_that_no_index_can_have_are_refused(wish: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidInput, match=param):
        IndexWish(**wish)  # type: ignore[arg-type]
