from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.encoding.batching.repeats import ENTRY_BYTES, RepeatCache
from service.encoding.tokenizer import Row, pack


def _row(name: int) -> Row:
    return Row(pack([name]), 0)


def _vector(name: int) -> np.ndarray:
    return np.full(4, name, np.float32)


SIZE = ENTRY_BYTES + 4 + 16


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6))), st.integers(0, 5 * SIZE))
def test_it_holds_the_rows_used_last_within_its_bound(
    actions: list[tuple[bool, int]], limit: int
) -> None:
    cache = RepeatCache(limit)
    recent: list[int] = []  # the least recently used first
    for is_put, name in actions:
        if is_put:
            cache.put(_row(name), _vector(name))
            if name not in recent:
                recent = [*recent, name][-(limit // SIZE) :] if limit >= SIZE else []
        else:
            vector = cache.get(_row(name))
            assert (vector is not None) == (name in recent)
            if vector is not None:
                np.testing.assert_array_equal(vector, _vector(name))
                recent = [one for one in recent if one != name] + [name]
        assert cache.bytes == len(cache) * SIZE <= limit


def test_it_keeps_vectors_and_not_the_batch_they_came_in() -> None:
    cache = RepeatCache(10_000)
    batch = np.zeros((1_000, 4), np.float32)
    cache.put(_row(1), batch[1])
    batch[1] = 9
    kept = cache.get(_row(1))
    assert kept is not None
    assert kept.base is None
    assert kept.tolist() == [0, 0, 0, 0]
