from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.batching import of_like_length, places


@given(
    st.lists(st.integers(min_value=1, max_value=20), max_size=40),
    st.integers(min_value=1, max_value=64),
)
def test_batches_are_in_order_and_as_large_as_they_may_be(lengths: list[int], most: int) -> None:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = list(of_like_length(order, lengths, most))
    assert [index for batch in batches for index in batch] == order
    for batch in batches:
        widest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * widest <= most
    for batch, after in pairwise(batches):
        assert (len(batch) + 1) * lengths[after[0]] > most


@given(st.integers(min_value=1, max_value=30).flatmap(lambda n: st.permutations(range(n))))
def test_places_undo_an_order(order: list[int]) -> None:
    rows = torch.arange(len(order)) * 10
    assert torch.equal(rows[torch.tensor(order)][places(order)], rows)
