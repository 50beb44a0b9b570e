"""From many dimensions to the two that show most: a picture of a collection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.retrieval.values import Floats


@dataclass(frozen=True, slots=True)
class Plane:
    """Points (n, 2) on the plane of largest variance, and the shares (2,) of all variance in it."""

    points: Floats
    shares: Floats


def principal_plane(vectors: Floats) -> Plane:
    """The two principal components of `vectors` (n, dimensions).

    The same vectors give the same plane: each axis points to where its largest coordinate is
    positive. Vectors that do not differ lie at the origin, with shares of 0.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    count, dimensions = centred.shape
    # The eigenvectors of the smaller of the two products of the matrix with itself.
    if dimensions <= count:
        values, axes = np.linalg.eigh(centred.T @ centred)
        points = centred @ axes[:, :-3:-1]
    else:
        values, sides = np.linalg.eigh(centred @ centred.T)
        points = sides[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    shares = np.pad(values[:-3:-1], (0, 2 - min(2, len(values))))
    total = float((centred**2).sum())
    # What rounding leaves of no variance is no direction.
    if total <= 1e-12 * max(1, count):
        return Plane(np.zeros((count, 2), np.float32), np.zeros(2, np.float32))
    largest = points[np.abs(points).argmax(axis=0), range(2)]
    points = points * np.where(largest < 0, -1, 1)
    return Plane(points.astype(np.float32), np.maximum(shares / total, 0).astype(np.float32))
