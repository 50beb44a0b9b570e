from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.bitext.neighbours import Neighbours, nearest
from training.evaluation.similarity import Indices, Vectors

# Whole numbers, so that every product is exact and ties are ties in any tile.
VECTORS = st.integers(1, 12).flatmap(
    lambda rows: arrays(np.int64, (rows, 3), elements=st.integers(-3, 3))
)


def _check(found: Neighbours, own: Vectors, other: Vectors, k: int) -> None:
    k = min(k, len(other))
    assert found.places.shape == found.cosines.shape == (len(own), k)
    for row, (places, cosines) in enumerate(zip(found.places, found.cosines, strict=True)):
        every = [float(own[row] @ each) for each in other]
        assert cosines.tolist() == sorted(every, reverse=True)[:k]
        assert len(set(places.tolist())) == k
        assert [every[place] for place in places] == cosines.tolist()
    expected = [np.mean(sorted((own @ other.T)[row])[-k:]) for row in range(len(own))]
    assert found.means.tolist() == pytest.approx(expected)


@given(sources=VECTORS, targets=VECTORS, k=st.integers(1, 5), tile=st.integers(1, 13))
def test_neighbours_are_those_of_the_whole_matrix_whatever_the_tile(
    sources: Vectors, targets: Vectors, k: int, tile: int
) -> None:
    one, other = sources.astype(np.float32), targets.astype(np.float32)
    of_sources, of_targets = nearest(one, other, k, tile)
    _check(of_sources, one, other, k)
    _check(of_targets, other, one, k)


def test_no_more_than_a_tile_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    partition = np.argpartition

    def watch(values: Vectors, kth: int, axis: int) -> Indices:
        seen.append(values.size)
        return partition(values, kth, axis=axis)

    monkeypatch.setattr(np, "argpartition", watch)
    rng = np.random.default_rng(0)
    nearest(
        rng.normal(size=(50, 4)).astype(np.float32),
        rng.normal(size=(70, 4)).astype(np.float32),
        k=4,
        tile=10,
    )
    assert max(seen) == 100


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sources and 1 targets"):
        nearest(np.zeros((0, 2), np.float32), np.zeros((1, 2), np.float32), 4)
