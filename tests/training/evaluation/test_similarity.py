"""Exact search against brute force over every pair of texts, written out as sums."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.evaluation import similarity
from training.evaluation.similarity import (
    Vectors,
    is_strictly_best,
    margin_hits,
    mine,
    neighbour_means,
    ranks,
)

# Whole numbers, so that every product is exact in float32 and ties are ties in any order.
SIDE = st.integers(1, 9)


@st.composite
def two_sides(draw: st.DrawFn, same: bool = True) -> tuple[Vectors, Vectors]:
    n = draw(SIDE)
    m = n if same else draw(SIDE)
    element = st.integers(-3, 3)
    return tuple(
        draw(arrays(np.int64, (size, 3), elements=element)).astype(np.float32) for size in (n, m)
    )  # type: ignore[return-value]


def _unit(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _cosine(one: Vectors, other: Vectors) -> float:
    return float(sum(float(a) * float(b) for a, b in zip(one, other, strict=True)))


def _margin(x: int, y: int, queries: Vectors, targets: Vectors, k: int) -> float:
    """Artetxe and Schwenk's ratio, by its definition, in double precision."""
    of_x = sorted((_cosine(queries[x], t) for t in targets), reverse=True)[:k]
    of_y = sorted((_cosine(q, targets[y]) for q in queries), reverse=True)[:k]
    mean = (sum(of_x) / len(of_x) + sum(of_y) / len(of_y)) / 2
    return _cosine(queries[x], targets[y]) / max(mean, 1e-6)


@given(sides=two_sides(same=False), data=st.data())
def test_rank_counts_every_target_as_near_as_the_gold_one(
    sides: tuple[Vectors, Vectors], data: st.DataObject
) -> None:
    queries, targets = sides
    places = st.integers(0, len(targets) - 1)
    gold = np.array(data.draw(st.lists(places, min_size=len(queries), max_size=len(queries))))
    for i, rank in enumerate(ranks(queries, targets, gold)):
        own = _cosine(queries[i], targets[gold[i]])
        assert rank == sum(_cosine(queries[i], target) >= own for target in targets)


@given(sides=two_sides(same=False), k=st.integers(1, 5))
def test_neighbour_means_are_over_the_k_nearest(sides: tuple[Vectors, Vectors], k: int) -> None:
    queries, targets = sides
    for query, mean in zip(queries, neighbour_means(queries, targets, k), strict=True):
        nearest = sorted((_cosine(query, target) for target in targets), reverse=True)[:k]
        assert mean == pytest.approx(sum(nearest) / len(nearest), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_xsim_agrees_with_brute_force(seed: int) -> None:
    queries, targets = _unit(30, seed), _unit(30, seed + 100)
    # Near enough to be found at times, not always.
    targets = targets + 1.2 * queries
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    gold = np.arange(30)
    expected = []
    for x in range(30):
        near = sorted(range(30), key=lambda y: -_cosine(queries[x], targets[y]))[:4]
        best = max(near, key=lambda y: _margin(x, y, queries, targets, 4))
        expected.append(best == x)
    found = margin_hits(queries, targets, gold)
    assert 0 < sum(expected) < 30
    np.testing.assert_array_equal(found, expected)


def test_the_margin_decides_only_among_the_nearest() -> None:
    # The gold target has by far the best margin, but four others are nearer to the query.
    queries = np.eye(1, 3, dtype=np.float32)
    near = np.array([[0.55, 0.83516, 0]] * 4, dtype=np.float32)
    targets = np.concatenate([near, [[0.5, 0, 0.866]]]).astype(np.float32)
    crowd = np.array([[0, 1, 0]] * 5, dtype=np.float32)  # makes the near ones common
    everyone = np.concatenate([queries, crowd])
    gold = np.full(6, 4)
    assert _margin(0, 4, everyone, targets, 4) > _margin(0, 0, everyone, targets, 4)
    assert not margin_hits(everyone, targets, gold)[0]
    assert margin_hits(everyone, targets, gold, k=5)[0]


def test_a_twin_of_the_translation_takes_the_point() -> None:
    sides = np.eye(6, dtype=np.float32)
    twins = sides.copy()
    twins[1] = twins[0]
    gold = np.arange(6)
    for found in (margin_hits(sides, twins, gold), ranks(sides, twins, gold) == 1):
        np.testing.assert_array_equal(found, [False, False, True, True, True, True])
    np.testing.assert_array_equal(
        is_strictly_best(sides, twins), [False, False, True, True, True, True]
    )


@given(sides=two_sides())
def test_mexa_is_strictly_best_of_row_and_column(sides: tuple[Vectors, Vectors]) -> None:
    one, other = sides
    n = len(one)
    for i, found in enumerate(is_strictly_best(one, other)):
        own = _cosine(one[i], other[i])
        row = all(own > _cosine(one[i], other[j]) for j in range(n) if j != i)
        column = all(own > _cosine(one[j], other[i]) for j in range(n) if j != i)
        assert found == (row and column)


@pytest.mark.parametrize("seed", range(8))
def test_mining_takes_the_best_proposals_while_both_texts_are_free(seed: int) -> None:
    sources, targets = _unit(12, seed, 4), _unit(15, seed + 50, 4)
    proposals = []
    for one, other, flip in ((sources, targets, False), (targets, sources, True)):
        for x in range(len(one)):
            near = sorted(range(len(other)), key=lambda y: -_cosine(one[x], other[y]))[:4]
            y = max(near, key=lambda y: _margin(x, y, one, other, 4))
            proposals.append((_margin(x, y, one, other, 4), *((y, x) if flip else (x, y))))
    expected: list[tuple[int, int]] = []
    for _, source, target in sorted(proposals, reverse=True):
        if all(source != s and target != t for s, t in expected):
            expected.append((source, target))
    mined = mine(sources, targets)
    assert list(zip(mined.sources.tolist(), mined.targets.tolist(), strict=True)) == expected
    assert all(np.diff(mined.margins) <= 0)


@given(sides=two_sides(same=False))
def test_mining_uses_no_text_twice(sides: tuple[Vectors, Vectors]) -> None:
    mined = mine(*sides)
    assert len(set(mined.sources.tolist())) == len(mined.sources)
    assert len(set(mined.targets.tolist())) == len(mined.targets)
    assert 1 <= len(mined.sources) <= min(map(len, sides))


@given(sides=two_sides(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_texts_changes_nothing(
    sides: tuple[Vectors, Vectors], order: Random
) -> None:
    one, other = sides
    gold = np.arange(len(one))
    shuffled = list(range(len(one)))
    order.shuffle(shuffled)
    for measure in (ranks, margin_hits):
        whole = measure(one, other, gold)
        np.testing.assert_array_equal(
            whole[shuffled], measure(one[shuffled], other[shuffled], gold)
        )
        # The pool alone in another order: the gold targets are elsewhere, the answers the same.
        where = np.argsort(shuffled)
        np.testing.assert_array_equal(whole, measure(one, other[shuffled], where))
    np.testing.assert_array_equal(
        is_strictly_best(one, other)[shuffled], is_strictly_best(one[shuffled], other[shuffled])
    )


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(-4, 5, (50, 6)).astype(np.float32) for _ in range(2))
    gold = rng.permutation(50)

    def everything() -> list[np.ndarray]:
        mined = mine(one, other)
        return [
            ranks(one, other, gold),
            neighbour_means(one, other),
            margin_hits(one, other, gold),
            is_strictly_best(one, other),
            mined.sources,
            mined.targets,
        ]

    whole = everything()
    monkeypatch.setattr(similarity, "_TILE_CELLS", 7 * 50)
    assert len(list(similarity.tiles(one, other))) == 8
    for before, after in zip(whole, everything(), strict=True):
        np.testing.assert_array_equal(before, after)
