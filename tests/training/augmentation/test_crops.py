from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.augmentation.crops import crop_pair
from training.augmentation.pieces import clusters

SEEDS = st.integers(0, 2**32)
# Every unit is different, so that a span is found in one place only.
SPACED = st.integers(4, 40).map(lambda count: " ".join(f"w{place:02}" for place in range(count)))
UNSPACED = st.integers(4, 40).map(
    lambda count: "".join(chr(0x4E00 + place) + "\u0301" * (place % 2) for place in range(count))
)


def _units(text: str) -> list[str]:
    return text.split() if text.startswith("w") else clusters(text)


@given(text=SPACED | UNSPACED, seed=SEEDS, disjoint=st.booleans())
def test_crops_are_two_different_spans_of_the_asked_length(
    text: str, seed: int, disjoint: bool
) -> None:
    units = _units(text)
    pair = crop_pair(text, np.random.default_rng(seed), 0.2, 0.5, disjoint)
    assert pair is not None
    assert pair == crop_pair(text, np.random.default_rng(seed), 0.2, 0.5, disjoint)
    assert pair[0] != pair[1]
    found = []
    for crop in pair:
        own = _units(crop)
        first, count = units.index(own[0]), len(own)
        assert own == units[first : first + count]
        assert crop in text
        assert max(1, round(0.2 * len(units))) <= count <= max(1, len(units) // 2)
        found.append(range(first, first + count))
    if disjoint:
        assert not set(found[0]) & set(found[1])


def test_crops_fall_everywhere_overlap_and_come_in_both_orders() -> None:
    text = " ".join(f"w{place}" for place in range(10))
    rng = np.random.default_rng(0)
    pairs = [crop_pair(text, rng) for _ in range(300)]
    assert all(pairs)
    starts = {pair[0].split()[0] for pair in pairs if pair}
    assert starts == set(text.split())
    assert any(set(pair[0].split()) & set(pair[1].split()) for pair in pairs if pair)
    apart = [crop_pair(text, rng, disjoint=True) for _ in range(100)]
    orders = {int(pair[0].split()[0][1:]) < int(pair[1].split()[0][1:]) for pair in apart if pair}
    assert orders == {True, False}


def test_short_texts_give_none_and_wrong_shares_are_refused() -> None:
    rng = np.random.default_rng(0)
    assert crop_pair("one two three", rng) is None
    assert crop_pair("你好世", rng) is None
    assert crop_pair("one two three four", rng) is not None
    for shares in ((0.0, 0.5), (0.5, 0.2), (0.5, 1.0)):
        with pytest.raises(ValueError, match="use shares between 0 and 1"):
            crop_pair("one two three four", rng, *shares)
    with pytest.raises(ValueError, match="disjoint"):
        crop_pair("one two three four", rng, 0.1, 0.6, disjoint=True)
