from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.encoding.batching import TokenLedger
from service.errors import Overloaded


def test_the_ledger_refuses_what_goes_over_and_says_when_to_come_back() -> None:
    ledger = TokenLedger(100)
    ledger.measured(tokens=20, seconds=2.0)  # 10 tokens a second
    with ledger.hold(75):
        with pytest.raises(Overloaded, match="holds 75 of at most 100") as caught, ledger.hold(26):
            pass
        assert caught.value.headers() == {"Retry-After": "8"}
        assert ledger.refused == 1
        with ledger.hold(25):
            assert ledger.held == 100
    assert ledger.held == 0


def test_a_correction_replaces_the_guess_or_is_refused() -> None:
    ledger = TokenLedger(100)
    with ledger.hold(50) as correct:
        correct(90)
        assert ledger.held == 90
        with pytest.raises(Overloaded):
            correct(101)
        assert ledger.held == 90
    assert ledger.held == 0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e3)), min_size=1))
def test_the_throughput_stays_within_what_was_measured(batches: list[tuple[int, float]]) -> None:
    ledger = TokenLedger(1)
    for tokens, seconds in batches:
        ledger.measured(tokens, seconds)
    rates = [tokens / seconds for tokens, seconds in batches]
    assert ledger.throughput is not None
    assert min(rates) * 0.999 <= ledger.throughput <= max(rates) * 1.001


def test_before_any_measurement_a_second_is_asked_for() -> None:
    ledger = TokenLedger(10)
    with ledger.hold(10):
        assert ledger.retry_after_s() == 1
