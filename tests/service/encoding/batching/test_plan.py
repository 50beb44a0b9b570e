from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.encoding.batching import PADDING_SHARE, plan_batches

lengths_lists = st.lists(st.integers(1, 600), min_size=1, max_size=200)
budgets = st.integers(1, 4_096)


@given(lengths_lists, budgets)
def test_a_plan_holds_every_row_once(lengths: list[int], budget: int) -> None:
    indices = [index for batch in plan_batches(lengths, budget) for index in batch]
    assert sorted(indices) == list(range(len(lengths)))


@given(lengths_lists, budgets)
def test_batches_keep_the_budget_and_hold_little_padding(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        sizes = [lengths[index] for index in batch]
        padded, real = max(sizes) * len(sizes), sum(sizes)
        assert padded <= budget or len(batch) == 1
        assert padded - real <= budget * PADDING_SHARE


@given(lengths_lists, budgets)
def test_batches_go_from_short_to_long(lengths: list[int], budget: int) -> None:
    ordered = [lengths[index] for batch in plan_batches(lengths, budget) for index in batch]
    assert ordered == sorted(lengths)


def test_a_little_padding_is_taken_to_save_a_batch() -> None:
    assert plan_batches([10, 12, 11, 60], 320) == [[0, 2, 1], [3]]


def test_rows_of_one_length_fill_their_batches() -> None:
    assert [len(batch) for batch in plan_batches([10] * 25, 100)] == [10, 10, 5]


def test_nothing_pending_is_no_batch() -> None:
    assert plan_batches([], 100) == []
