from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.bitext.neighbours import nearest
from training.bitext.pairing import Paired, PairReason, Side, pair
from training.evaluation.similarity import Vectors, mine

INFINITE = float("inf")


def _unit(rows: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(rows, 5))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _plain(language: str, count: int) -> Side:
    return Side(language, [10.0] * count, [f"{language}{place}".encode() for place in range(count)])


def _pair(
    one: Vectors,
    other: Vectors,
    sources: Side,
    targets: Side,
    least: float = -INFINITE,
    ratio: float = INFINITE,
) -> Paired:
    return pair(*nearest(one, other, 4), sources, targets, least, ratio)


# Here a text would propose one whose neighbour it is, and which is none of its own.
@example(n=6, m=11, seed=2)
@example(n=11, m=6, seed=117)
@given(n=st.integers(1, 25), m=st.integers(1, 25), seed=st.integers(0, 10_000))
def test_without_filters_it_is_the_max_strategy_and_every_neighbour_is_accounted_for(
    n: int, m: int, seed: int
) -> None:
    one, other = _unit(n, seed), _unit(m, seed + 1)
    found = _pair(one, other, _plain("en", n), _plain("de", m))
    expected = mine(one, other)
    assert found.mined.sources.tolist() == expected.sources.tolist()
    assert found.mined.targets.tolist() == expected.targets.tolist()
    assert found.mined.margins == pytest.approx(expected.margins, rel=1e-4)
    assert found.neighbours == len(found.mined.sources) + sum(found.dropped.values())
    assert found.dropped[PairReason.UNTRANSLATED] == found.dropped[PairReason.RATIO] == 0


@given(
    seed=st.integers(0, 10_000),
    least=st.floats(0.5, 1.5),
    ratio=st.floats(1, 3),
    marks=st.lists(st.sampled_from([b"x", b"y", b"z", None]), min_size=12, max_size=12),
)
def test_what_is_kept_passes_every_filter_and_is_one_to_one(
    seed: int, least: float, ratio: float, marks: list[bytes | None]
) -> None:
    rng = np.random.default_rng(seed)
    one, other = _unit(12, seed), _unit(9, seed + 1)
    sources = Side("en", rng.uniform(1, 80, 12).tolist(), marks)
    targets = Side("de", rng.uniform(1, 80, 9).tolist(), marks[:9])
    found = _pair(one, other, sources, targets, least, ratio)
    mined = found.mined
    assert found.neighbours == len(mined.sources) + sum(found.dropped.values())
    assert len(set(mined.sources.tolist())) == len(set(mined.targets.tolist()))
    assert len(set(mined.sources.tolist())) == len(mined.sources)
    assert np.all(mined.margins >= np.float32(least))
    assert np.all(np.diff(mined.margins) <= 0)
    for i, j in zip(mined.sources, mined.targets, strict=True):
        assert marks[i] is None or marks[i] != marks[j]
        weights = sorted((sources.weights[i], targets.weights[j]))
        assert (weights[1] + 15) / (weights[0] + 15) <= ratio


def _planted() -> tuple[Vectors, Vectors]:
    """Three sources; the first target lies on the first source, the second a little beside."""
    one = np.eye(4, dtype=np.float32)[:3]
    beside = np.array([[1, 0, 0, 0], [0.95, 0, 0, 0.31225], [0, 1, 0, 0]], np.float32)
    return one, beside


def test_a_copy_makes_room_for_the_translation_that_is_second_best() -> None:
    one, other = _planted()
    marks: list[bytes | None] = [b"same", b"b", b"c"]
    sources = Side("en", [10.0] * 3, marks)
    targets = Side("sw", [10.0] * 3, [b"same", b"d", b"e"])
    kept = _pair(one, other, sources, targets, least=1.0).mined
    assert (0, 1) in set(zip(kept.sources.tolist(), kept.targets.tolist(), strict=True))
    # Norwegian and Danish share sentences: there it is a translation.
    close = _pair(
        one, other, Side("nb", [10.0] * 3, marks), Side("da", [10.0] * 3, targets.marks), least=1.0
    ).mined
    assert (0, 0) in set(zip(close.sources.tolist(), close.targets.tolist(), strict=True))


def test_a_text_of_another_length_makes_room_too() -> None:
    one, other = _planted()
    sources, marks = _plain("en", 3), _plain("sw", 3).marks
    targets = Side("sw", [100.0, 12.0, 12.0], marks)
    found = _pair(one, other, sources, targets, least=1.0, ratio=2.0)
    pairs = set(zip(found.mined.sources.tolist(), found.mined.targets.tolist(), strict=True))
    assert (0, 1) in pairs
    assert found.dropped[PairReason.RATIO] == 3


def test_a_margin_is_over_the_means_of_both_neighbourhoods() -> None:
    one, other = _unit(7, 1), _unit(6, 2)
    found = _pair(one, other, _plain("en", 7), _plain("de", 6)).mined
    cosines = one.astype(np.float64) @ other.T.astype(np.float64)
    for i, j, margin in zip(found.sources, found.targets, found.margins, strict=True):
        means = np.sort(cosines[i])[-4:].mean() + np.sort(cosines[:, j])[-4:].mean()
        assert margin == pytest.approx(cosines[i, j] / max(means / 2, 1e-6), rel=1e-4)
