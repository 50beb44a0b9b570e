"""Principal components against numpy's own singular values, and the laws that they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.retrieval.projection import principal_plane
from service.retrieval.values import Floats


def _cloud(count: int, dimensions: int, seed: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    scales = np.linspace(3, 0.1, dimensions)
    return (rng.normal(0, 1, (count, dimensions)) * scales + rng.normal(0, 5, dimensions)).astype(
        np.float32
    )


@pytest.mark.parametrize(("count", "dimensions"), [(200, 8), (8, 200), (30, 30), (3, 2)])
def test_it_is_what_singular_values_say(count: int, dimensions: int) -> None:
    vectors = _cloud(count, dimensions)
    plane = principal_plane(vectors)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    sides, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = sides[:, :2] * values[:2]
    np.testing.assert_allclose(np.abs(plane.points), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(plane.shares, values[:2] ** 2 / (values**2).sum(), atol=1e-4)
    assert plane.points.dtype == np.float32


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 12),
    dimensions=st.integers(1, 12),
    seed=st.integers(0, 1000),
    same=st.booleans(),
)
def test_any_cloud_has_a_plane(count: int, dimensions: int, seed: int, same: bool) -> None:
    vectors = _cloud(count, dimensions, seed)
    if same:
        vectors[:] = vectors[0]
    plane = principal_plane(vectors)
    assert plane.points.shape == (count, 2)
    assert np.isfinite(plane.points).all()
    assert 0 <= plane.shares[1] <= plane.shares[0] <= 1 + 1e-5
    assert plane.shares.sum() <= 1 + 1e-5
    # Distances never grow when they are cast on a plane.
    for a in range(count):
        near = np.linalg.norm(plane.points - plane.points[a], axis=1)
        far = np.linalg.norm(vectors - vectors[a], axis=1)
        assert (near <= far + 1e-3).all()
    again = principal_plane(vectors)
    np.testing.assert_array_equal(plane.points, again.points)
    if same or count == 1:
        assert not plane.points.any()
        assert not plane.shares.any()
