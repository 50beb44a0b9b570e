from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.alignment import scoring
from service.alignment.scoring import Score, cosine_similarities, nearest_neighbours, score_pairs

Floats = NDArray[np.float32]


@st.composite
def vector_lists(draw: st.DrawFn, max_size: int = 12) -> Floats:
    """Unit vectors in a plane, few directions, so that equal ones and ties are common."""
    angles = draw(st.lists(st.integers(0, 11), min_size=1, max_size=max_size))
    radians = np.array(angles) * (2 * np.pi / 12)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def _brute_force(cosines: Floats, k: int) -> list[list[int]]:
    """Columns by falling cosine, then rising index, one row after the other."""
    return [
        sorted(range(len(row)), key=lambda column: (-row[column], column))[:k] for row in cosines
    ]


@given(vector_lists(), vector_lists(), st.integers(1, 15))
def test_neighbours_are_those_of_a_full_sort(sources: Floats, targets: Floats, k: int) -> None:
    cosines = cosine_similarities(sources, targets)
    forward, backward = nearest_neighbours(sources, targets, k)
    assert forward.indices.tolist() == _brute_force(cosines, k)
    assert backward.indices.tolist() == _brute_force(cosines.T, k)
    for index, row in enumerate(forward.indices):
        np.testing.assert_array_equal(forward.cosines[index], cosines[index, row])
    for index, row in enumerate(backward.indices):
        np.testing.assert_array_equal(backward.cosines[index], cosines[row, index])


@st.composite
def axis_lists(draw: st.DrawFn) -> Floats:
    """Unit vectors along axes: their cosines are -1, 0 or 1, exact however they are computed."""
    axes = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    rows: Floats = axes[draw(st.lists(st.integers(0, 5), min_size=1, max_size=12))]
    return rows


@given(axis_lists(), axis_lists(), st.integers(1, 15), st.integers(1, 5))
def test_cutting_the_work_into_tiles_changes_nothing(
    sources: Floats, targets: Floats, k: int, rows: int
) -> None:
    whole = nearest_neighbours(sources, targets, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_TILE_ROWS", rows)
        tiles = nearest_neighbours(sources, targets, k)
    for one, other in zip(whole, tiles, strict=True):
        np.testing.assert_array_equal(one.cosines, other.cosines)
        np.testing.assert_array_equal(one.indices, other.indices)


@given(vector_lists(), vector_lists())
def test_cosines_are_those_of_numpy_within_bounds_and_equal_for_equals(
    sources: Floats, targets: Floats
) -> None:
    cosines = cosine_similarities(sources, targets)
    np.testing.assert_allclose(cosines, np.einsum("ad,bd->ab", sources, targets), atol=1e-6)
    assert np.abs(cosines).max() <= 1
    for one in range(len(targets)):
        for other in range(one):
            if targets[one].tobytes() == targets[other].tobytes():
                np.testing.assert_array_equal(cosines[:, one], cosines[:, other])


def test_equal_rows_have_equal_cosines_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(67, 384)).astype(np.float32)
    sources /= np.linalg.norm(sources, axis=1, keepdims=True)
    targets = sources[rng.integers(0, 5, size=131)]
    cosines = cosine_similarities(sources, targets)
    for column in range(131):
        twin = next(c for c in range(131) if targets[c].tobytes() == targets[column].tobytes())
        np.testing.assert_array_equal(cosines[:, column], cosines[:, twin])
    for neighbours in nearest_neighbours(sources, targets, 131):
        for values, indices in zip(neighbours.cosines, neighbours.indices, strict=True):
            tied = values[1:] == values[:-1]
            assert (indices[1:][tied] > indices[:-1][tied]).all()


def test_k_is_clamped_to_the_list_that_is_searched() -> None:
    forward, backward = nearest_neighbours(
        np.eye(2, 3, dtype=np.float32), np.eye(1, 3, dtype=np.float32), 4
    )
    assert forward.indices.shape == (2, 1)
    assert backward.indices.shape == (1, 2)


def test_margins_are_those_of_their_definition() -> None:
    cosines = np.array([0.8, 0.5], np.float32)
    one, other = np.array([0.6, 0.4], np.float32), np.array([0.2, 0.8], np.float32)
    for score, expected in {
        Score.MARGIN_RATIO: [0.8 / 0.4, 0.5 / 0.6],
        Score.MARGIN_DISTANCE: [0.8 - 0.4, 0.5 - 0.6],
        Score.COSINE: [0.8, 0.5],
        Score.CSLS: [1.6 - 0.6 - 0.2, 1.0 - 0.4 - 0.8],
    }.items():
        scores = score_pairs(score, cosines, one, other)
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
        assert scores.dtype == np.float32


bounded = st.floats(-1, 1, width=32)


@given(bounded, bounded, bounded, st.sampled_from(Score))
def test_no_score_is_nan_or_infinite(cosine: float, one: float, other: float, score: Score) -> None:
    values = [np.array([value], np.float32) for value in (cosine, one, other)]
    assert np.isfinite(score_pairs(score, *values)).all()


@given(bounded, bounded, bounded, bounded, st.sampled_from(Score))
def test_every_score_rises_with_the_cosine(
    low: float, high: float, one: float, other: float, score: Score
) -> None:
    low, high = sorted((low, high))
    pair = np.array([low, high], np.float32)
    means = [np.full(2, value, np.float32) for value in (one, other)]
    scores = score_pairs(score, pair, *means)
    assert scores[0] <= scores[1]
