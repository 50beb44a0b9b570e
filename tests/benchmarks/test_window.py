"""The figures of a window, against numpy and by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serve.window import (
    OK,
    UNANSWERED,
    Answered,
    credit,
    figures,
    ratios,
    spread,
)

_times = st.floats(0, 100, allow_nan=False)
_answered = st.lists(
    st.builds(
        lambda sent_s, took_s, texts: Answered(sent_s, sent_s + took_s, texts, OK),
        _times,
        st.floats(0.001, 50),
        st.integers(1, 40),
    ),
    max_size=30,
)


@given(_answered, st.lists(_times, max_size=5))
def test_windows_side_by_side_share_every_request_among_them(
    answered: list[Answered], cuts: Sequence[float]
) -> None:
    """However time is cut into windows, no request is lost and none counts twice."""
    edges = [-1.0, *sorted(cuts), 200.0]
    total = sum(credit(answered, a, b) for a, b in pairwise(edges))
    np.testing.assert_allclose(total, np.ones(len(answered)), atol=1e-6)


def test_a_busy_client_has_the_rate_of_its_latency_whatever_the_window() -> None:
    """One client whose requests take 0.7 s: windows of any length and place find 1 / 0.7."""
    back_to_back = [Answered(0.7 * n, 0.7 * (n + 1), 3, OK) for n in range(20)]
    for start_s, end_s in ((0.1, 1.0), (2.0, 2.5), (3.3, 9.1)):
        window = figures(back_to_back, start_s, end_s, cpu_s=1.0, generator_cpu_s=0.1)
        assert window.requests_per_s == pytest.approx(1 / 0.7)
        assert window.texts_per_s == pytest.approx(3 / 0.7)
        texts = 3 / 0.7 * (end_s - start_s)
        assert window.cpu_s_per_1000 == pytest.approx(1000 / texts)
        assert window.generator_cpu == pytest.approx(0.1 / (end_s - start_s))


def test_percentiles_are_of_requests_that_began_within() -> None:
    rng = np.random.default_rng(0)
    took = rng.exponential(0.05, 500)
    inside = [Answered(1 + n / 1000, 1 + n / 1000 + t, 1, OK) for n, t in enumerate(took)]
    before = Answered(0.9, 9.9, 1, OK)
    window = figures([before, *inside], 1.0, 1.6, cpu_s=0.0, generator_cpu_s=0.0)
    assert window.samples == 500
    assert window.p50_ms == pytest.approx(1e3 * np.median(took))
    assert window.p99_ms == pytest.approx(1e3 * np.percentile(took, 99))


def test_failures_are_no_throughput_and_only_the_unanswered_are_latencies() -> None:
    answered = [
        Answered(0.0, 0.5, 1, OK),
        Answered(0.0, 0.001, 1, 429),
        Answered(0.0, 1.0, 1, UNANSWERED),
    ]
    window = figures(answered, 0.0, 1.0, cpu_s=0.5, generator_cpu_s=0.0, failed=4)
    assert window.failed == 2 + 4
    assert window.requests_per_s == pytest.approx(1)
    assert window.samples == 2
    assert window.p50_ms == pytest.approx(750)


def test_nothing_answered_is_no_number() -> None:
    window = figures([], 0.0, 1.0, cpu_s=0.5, generator_cpu_s=0.0)
    assert (window.requests_per_s, window.samples) == (0, 0)
    assert all(map(math.isnan, (window.p50_ms, window.p99_ms, window.cpu_s_per_1000)))


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=9))
def test_a_spread_is_median_lowest_and_highest(values: list[float]) -> None:
    found = spread(values)
    assert (found.median, found.low, found.high) == (np.median(values), min(values), max(values))


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that slows down from round to round does not widen them."""
    assert ratios([10, 20, 40], [5, 10, 20]) == spread([2.0, 2.0, 2.0])
    with pytest.raises(ValueError, match="zip"):
        ratios([1, 2], [1])
    with pytest.raises(ValueError, match="no values"):
        spread([])
