"""Token buckets against the law that they are for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.security.limits import Bucket, whole_seconds


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.floats(0, 20), max_size=40))
def test_no_window_lets_more_through_than_a_minute_and_its_length(
    per_minute: int, pauses_s: list[float]
) -> None:
    now = 0.0
    bucket = Bucket(per_minute, lambda: now)
    paid: list[float] = []
    for pause_s in pauses_s:
        now += pause_s
        if bucket.wait_s(1) == 0:
            bucket.pay(1)
            paid.append(now)
    for first, start in enumerate(paid):
        for count, end in enumerate(paid[first:], start=1):
            assert count <= per_minute + per_minute * (end - start) / 60 + 1e-6


def test_the_wait_that_is_told_is_enough_and_no_more() -> None:
    now = 0.0
    bucket = Bucket(60, lambda: now)
    bucket.pay(60)
    wait_s = bucket.wait_s(1)
    assert wait_s == pytest.approx(1.0)
    now += wait_s - 0.01
    assert bucket.wait_s(1) > 0
    now += 0.011
    assert bucket.wait_s(1) == 0


def test_debt_is_waited_for() -> None:
    now = 0.0
    bucket = Bucket(100, lambda: now)
    bucket.pay(300)
    assert bucket.wait_s() == pytest.approx(120.0)
    now += 121
    assert bucket.wait_s() == 0


def test_more_than_a_minute_holds_can_still_be_had() -> None:
    assert Bucket(10, lambda: 0.0).wait_s(1_000) == 0


@pytest.mark.parametrize(("wait_s", "told"), [(0.001, 1), (1.0, 1), (1.01, 2), (60.0, 60)])
def test_a_wait_is_told_in_whole_seconds_upwards(wait_s: float, told: int) -> None:
    assert whole_seconds(wait_s) == told
