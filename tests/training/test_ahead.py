from __future__ import annotations

import threading

import pytest

from training.ahead import Ahead


def test_values_come_in_order_and_one_is_made_ahead() -> None:
    made: list[int] = []
    second = threading.Event()

    def make(step: int) -> int:
        made.append(step)
        if step == 4:
            second.set()
        return step * step

    values = Ahead(make, end=6)
    assert values(3) == 9
    assert second.wait(10)  # the next one is made though nobody asked
    assert [values(4), values(5)] == [16, 25]
    values._thread.shutdown()  # what was asked of it is done
    assert made == [3, 4, 5]  # each once, and none at or past the end


def test_an_error_comes_where_its_value_is_wanted() -> None:
    def make(step: int) -> int:
        if step == 1:
            raise ValueError("no pairs")
        return step

    values = Ahead(make, end=9)
    assert values(0) == 0
    with pytest.raises(ValueError, match="no pairs"):
        values(1)
