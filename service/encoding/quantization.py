"""Smaller vectors: fewer dimensions, or fewer bits for each. Pure functions of the vectors.

Nothing here is fitted to data: a vector's short form depends on the vector and the number of its
dimensions alone, so it is the same in every request, on every server, in every year.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.encoding.session import Vectors

# The largest value of an int8 vector, in multiples of what all dimensions would have if they were
# equal. `python -m benchmarks.quantization` prints the largest value of a bundle's vectors on this
# measure, 10.2 of the shipped model's, and how much is clipped for lying beyond.
INT8_RANGE = 10.0
_INT8_MAX = 127


def truncate(vectors: Vectors, dimensions: int, *, normalize: bool) -> Vectors:
    """The first `dimensions` of each row, (rows, dimensions), with length 1 where `normalize`.

    Says something only for models whose dimensions are ordered, by training (Kusupati et al. 2022,
    Matryoshka representation learning) or by rotation onto principal axes. Zero rows stay zero.
    """
    cut = np.ascontiguousarray(vectors[:, :dimensions])
    if not normalize:
        return cut
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    unit: Vectors = np.divide(cut, norms, out=np.zeros_like(cut), where=norms > 0)
    return unit


def int8_scale(dimensions: int) -> float:
    """What the integers of `to_int8` are times of: 10 / (127 √dimensions)."""
    return INT8_RANGE / (_INT8_MAX * math.sqrt(dimensions))


def to_int8(vectors: Vectors) -> NDArray[np.int8]:
    """Unit rows as integers −127 to 127 of one fixed scale: round(x / int8_scale), clipped.

    One scale for all dimensions and all vectors keeps dot products: that of two rows, times the
    scale squared, is nearly their cosine.
    """
    scaled = np.rint(vectors * np.float32(1 / int8_scale(vectors.shape[1])))
    short: NDArray[np.int8] = np.clip(scaled, -_INT8_MAX, _INT8_MAX).astype(np.int8)
    return short


def to_binary(vectors: Vectors) -> NDArray[np.uint8]:
    """One bit for each dimension, 1 where it is above zero: (rows, ⌈dimensions / 8⌉).

    The first dimension is the highest bit of the first byte; unused bits of the last are 0. So do
    `numpy.packbits` and what others call `ubinary`. Compare by Hamming distance.
    """
    return np.packbits(vectors > 0, axis=1)
