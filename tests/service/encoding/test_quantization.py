"""Laws of short vectors, against numpy in float64 and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.encoding.quantization import int8_scale, to_binary, to_int8, truncate

_VALUES = st.floats(-1, 1, width=32, allow_subnormal=False)
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=_VALUES)


@given(ROWS, st.data())
def test_truncated_rows_point_where_the_first_dimensions_do(
    rows: NDArray[np.float32], data: st.DataObject
) -> None:
    dimensions = data.draw(st.integers(1, rows.shape[1]))
    unit = truncate(rows, dimensions, normalize=True)
    assert unit.dtype == np.float32
    for cut, row in zip(unit, rows.astype(np.float64), strict=True):
        norm = np.sqrt((row[:dimensions] ** 2).sum())
        # float32 squares of values below 1e-19 are zero, and such a row has no direction.
        if norm > 1e-15:
            np.testing.assert_allclose(cut, row[:dimensions] / norm, atol=1e-5)
        elif norm == 0:
            np.testing.assert_array_equal(cut, 0)
    np.testing.assert_array_equal(truncate(rows, dimensions, normalize=False), rows[:, :dimensions])


@given(ROWS)
def test_int8_is_within_half_a_step_or_clipped(rows: NDArray[np.float32]) -> None:
    scale = int8_scale(rows.shape[1])
    short = to_int8(rows)
    assert short.dtype == np.int8
    assert short.min() >= -127
    limited = np.clip(rows.astype(np.float64), -127 * scale, 127 * scale)
    np.testing.assert_allclose(short * scale, limited, atol=scale * 0.5001)
    np.testing.assert_array_equal(to_int8(-rows), -short)


def test_the_largest_int8_is_ten_times_the_mean_value() -> None:
    assert int8_scale(64) * 127 == pytest.approx(10 / np.sqrt(64))


@given(ROWS)
def test_each_bit_is_a_sign_the_first_the_highest(rows: NDArray[np.float32]) -> None:
    short = to_binary(rows)
    assert short.dtype == np.uint8
    assert short.shape == (len(rows), (rows.shape[1] + 7) // 8)
    for packed, row in zip(short.tolist(), rows, strict=True):
        bits = "".join(f"{byte:08b}" for byte in packed)
        assert bits == "".join("1" if x > 0 else "0" for x in row).ljust(len(bits), "0")


@given(ROWS, st.integers(0, 4))
def test_a_vector_is_short_alike_alone_and_among_others(
    rows: NDArray[np.float32], index: int
) -> None:
    index %= len(rows)
    alone = rows[index : index + 1]
    np.testing.assert_array_equal(to_int8(rows)[index], to_int8(alone)[0])
    np.testing.assert_array_equal(to_binary(rows)[index], to_binary(alone)[0])
