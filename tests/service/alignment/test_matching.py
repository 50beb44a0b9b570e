from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.alignment import matching
from service.alignment.matching import Method, align_one_to_one, align_texts
from service.alignment.scoring import Score, cosine_similarities
from service.errors import InvalidInput

Floats = NDArray[np.float32]


def _random(rng: np.random.Generator, count: int, dimension: int = 6) -> Floats:
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@st.composite
def two_lists(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Unit vectors without and with duplicates, on both sides and across them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = _random(rng, draw(st.integers(1, 20)))
    n, m = draw(st.integers(1, 15)), draw(st.integers(1, 15))
    return pool[rng.integers(0, len(pool), n)], pool[rng.integers(0, len(pool), m)]


def _reference(
    sources: Floats, targets: Floats, score: Score, k: int
) -> list[tuple[int, int, float]]:
    """Artetxe and Schwenk's "max" retrieval, written down from the paper with plain loops."""
    cosines = cosine_similarities(sources, targets).astype(float)
    n, m = cosines.shape

    def nearest(values: NDArray[np.float64], count: int) -> list[int]:
        return sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]

    near_target = [nearest(cosines[i], k) for i in range(n)]
    near_source = [nearest(cosines[:, j], k) for j in range(m)]
    mean_source = [np.mean([cosines[i, j] for j in near_target[i]]) for i in range(n)]
    mean_target = [np.mean([cosines[i, j] for i in near_source[j]]) for j in range(m)]

    def value(i: int, j: int) -> float:
        a = (mean_source[i] + mean_target[j]) / 2
        if score is Score.COSINE:
            return float(cosines[i, j])
        if score is Score.MARGIN_DISTANCE:
            return float(cosines[i, j] - a)
        if score is Score.CSLS:
            return float(2 * cosines[i, j] - 2 * a)
        return float(cosines[i, j] / max(a, 1e-6))

    candidates = set()
    for i in range(n):
        best = max(value(i, j) for j in near_target[i])
        candidates |= {(i, j) for j in near_target[i] if value(i, j) == best}
    for j in range(m):
        best = max(value(i, j) for i in near_source[j])
        candidates |= {(i, j) for i in near_source[j] if value(i, j) == best}
    pairs, free_i, free_j = [], set(range(n)), set(range(m))
    for i, j in sorted(candidates, key=lambda pair: (-value(*pair), pair)):
        if i in free_i and j in free_j:
            free_i.remove(i)
            free_j.remove(j)
            pairs.append((i, j, value(i, j)))
    return pairs


@pytest.mark.parametrize("score", Score)
@pytest.mark.parametrize("seed", range(30))
def test_pairs_are_those_of_the_paper(score: Score, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = _random(rng, int(rng.integers(1, 40)))
    noise = _random(rng, len(targets))
    mixed = targets + 0.7 * noise
    sources = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    sources = sources[rng.permutation(len(sources))][: max(1, len(sources) - 3)]
    alignment = align_one_to_one(sources, targets, score=score)
    expected = _reference(sources, targets, score, 4)
    assert [(p.source, p.target) for p in alignment.pairs] == [(i, j) for i, j, _ in expected]
    np.testing.assert_allclose(
        [p.score for p in alignment.pairs], [v for *_, v in expected], rtol=1e-4
    )


@given(two_lists(), st.sampled_from(Score), st.integers(1, 20))
def test_every_text_is_in_one_pair_or_unaligned(
    lists: tuple[Floats, Floats], score: Score, k: int
) -> None:
    sources, targets = lists
    alignment = align_one_to_one(sources, targets, score=score, k=k)
    used_sources = [pair.source for pair in alignment.pairs]
    used_targets = [pair.target for pair in alignment.pairs]
    assert sorted([*used_sources, *alignment.unaligned_source]) == list(range(len(sources)))
    assert sorted([*used_targets, *alignment.unaligned_target]) == list(range(len(targets)))
    assert list(alignment.unaligned_source) == sorted(alignment.unaligned_source)
    scores = [pair.score for pair in alignment.pairs]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()
    assert alignment.pairs  # the best proposal of all is always free
    for pair in alignment.pairs:
        expected = float(sources[pair.source] @ targets[pair.target])
        assert pair.cosine == pytest.approx(expected, abs=1e-6)


@given(two_lists(), st.sampled_from(Score), st.data())
def test_a_threshold_keeps_the_pairs_that_reach_it_and_no_others(
    lists: tuple[Floats, Floats], score: Score, data: st.DataObject
) -> None:
    everything = align_one_to_one(*lists, score=score)
    exact = st.sampled_from([pair.score for pair in everything.pairs])
    threshold = data.draw(exact | st.floats(-2, 3))
    kept = align_one_to_one(*lists, score=score, threshold=threshold)
    assert list(kept.pairs) == [p for p in everything.pairs if p.score >= threshold]


def test_translations_are_found_in_any_order() -> None:
    rng = np.random.default_rng(5)
    targets = _random(rng, 60, 64)
    order = rng.permutation(60)
    alignment = align_one_to_one(targets[order], targets)
    assert {(p.source, p.target) for p in alignment.pairs} == set(enumerate(order.tolist()))


def test_copies_of_a_text_pair_up_in_order() -> None:
    rng = np.random.default_rng(1)
    one, other = _random(rng, 2, 384)
    alignment = align_one_to_one(np.stack([one, other, one, one]), np.stack([other, one, one]))
    assert {(p.source, p.target) for p in alignment.pairs} == {(0, 1), (1, 0), (2, 2)}
    assert alignment.unaligned_source == (3,)


def test_copies_pair_up_as_far_as_k_reaches() -> None:
    vectors = np.repeat(_random(np.random.default_rng(1), 1, 384), 5, axis=0)
    alignment = align_one_to_one(vectors, vectors, k=3)
    assert [(p.source, p.target) for p in alignment.pairs] == [(0, 0), (1, 1), (2, 2)]


def test_one_text_on_each_side_is_a_pair() -> None:
    x, y = _random(np.random.default_rng(2), 2)
    alignment = align_one_to_one(x[None], y[None])
    assert [(p.source, p.target) for p in alignment.pairs] == [(0, 0)]


@st.composite
def distinct_lists(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Vectors of all lengths without two alike, so that no score is tied.

    They lean to one side, as those of texts do: over means near zero the ratio is all rounding.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sources = rng.normal(1, 1, (draw(st.integers(1, 15)), 8)).astype(np.float32)
    targets = rng.normal(1, 1, (draw(st.integers(1, 15)), 8)).astype(np.float32)
    return sources, targets


methods, scores = st.sampled_from(Method), st.sampled_from(Score)


def _found(sources: Floats, targets: Floats, method: Method, score: Score) -> set[tuple[int, int]]:
    pairs = align_texts(sources, targets, method, score=score).pairs
    return {(pair.source, pair.target) for pair in pairs}


@settings(deadline=None)  # the first run imports scipy
@given(distinct_lists(), methods, scores, st.randoms(use_true_random=False))
def test_permuting_the_lists_permutes_the_pairs(
    lists: tuple[Floats, Floats], method: Method, score: Score, random: Random
) -> None:
    sources, targets = lists
    one = random.sample(range(len(sources)), len(sources))
    other = random.sample(range(len(targets)), len(targets))
    moved = _found(sources[one], targets[other], method, score)
    assert {(one[i], other[j]) for i, j in moved} == _found(sources, targets, method, score)


@settings(deadline=None)  # the first run imports scipy
@given(distinct_lists(), methods, scores, st.sampled_from([2.0**-9, 0.25, 8.0, 2.0**20]))
def test_the_length_of_vectors_does_not_matter(
    lists: tuple[Floats, Floats], method: Method, score: Score, scale: float
) -> None:
    sources, targets = lists
    scaled = align_texts(sources * np.float32(scale), targets, method, score=score)
    assert scaled == align_texts(sources, targets, method, score=score)


@settings(deadline=None)  # the first run imports scipy
@given(distinct_lists(), methods, scores)
def test_equal_lists_align_to_the_identity(
    lists: tuple[Floats, Floats], method: Method, score: Score
) -> None:
    sources, _ = lists
    rng = np.random.default_rng(len(sources))
    far_apart = np.concatenate([sources, 4 * rng.permutation(np.eye(15))[: len(sources)]], axis=1)
    alignment = align_texts(far_apart.astype(np.float32), far_apart.astype(np.float32), method)
    assert sorted((p.source, p.target) for p in alignment.pairs) == [
        (index, index) for index in range(len(sources))
    ]


@given(two_lists(), scores, st.integers(1, 20))
def test_best_takes_each_source_once_and_mutual_is_agreed_on(
    lists: tuple[Floats, Floats], score: Score, k: int
) -> None:
    sources, targets = lists
    best = align_texts(sources, targets, Method.BEST, score=score, k=k)
    assert sorted(pair.source for pair in best.pairs) == list(range(len(sources)))
    assert best.unaligned_source == ()
    mutual = align_texts(sources, targets, Method.MUTUAL, score=score, k=k)
    assert len({pair.source for pair in mutual.pairs}) == len(mutual.pairs)
    assert len({pair.target for pair in mutual.pairs}) == len(mutual.pairs)
    by_source = {pair.source: pair.score for pair in best.pairs}
    turned = align_texts(targets, sources, Method.BEST, score=score, k=k)
    by_target = {pair.source: pair.score for pair in turned.pairs}
    for pair in mutual.pairs:
        assert pair.score == pytest.approx(by_source[pair.source], abs=1e-6)
        assert pair.score == pytest.approx(by_target[pair.target], abs=1e-6)


@settings(deadline=None)  # the first run imports scipy
@given(distinct_lists(), scores)
def test_optimal_has_the_greatest_sum_of_all_assignments(
    lists: tuple[Floats, Floats], score: Score
) -> None:
    sources, targets = lists[0][:5], lists[1][:5]
    every = align_texts(sources, targets, Method.OPTIMAL, score=score)
    assert len(every.pairs) == min(len(sources), len(targets))
    # All scores there are, by making every text a neighbour of every other.
    table = {}
    for i in range(len(sources)):
        for j in range(len(targets)):
            order = [i, *(x for x in range(len(sources)) if x != i)]
            other = [j, *(x for x in range(len(targets)) if x != j)]
            table[i, j] = _score(sources[order], targets[other], score)
    small, large = sorted([len(sources), len(targets)])
    turned = small == len(targets) and small != large
    sums = [
        sum(table[(j, i) if turned else (i, j)] for i, j in enumerate(chosen))
        for chosen in permutations(range(large), small)
    ]
    assert sum(pair.score for pair in every.pairs) == pytest.approx(max(sums), rel=1e-4, abs=1e-4)


def _score(sources: Floats, targets: Floats, score: Score) -> float:
    """The score of the first source with the first target, by the definitions."""
    one = sources / np.linalg.norm(sources, axis=1, keepdims=True)
    other = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    cosines = (one @ other.T).astype(float)
    a = (np.sort(cosines[0])[-4:].mean() + np.sort(cosines[:, 0])[-4:].mean()) / 2
    values = {
        Score.COSINE: cosines[0, 0],
        Score.MARGIN_DISTANCE: cosines[0, 0] - a,
        Score.CSLS: 2 * (cosines[0, 0] - a),
        Score.MARGIN_RATIO: cosines[0, 0] / max(a, 1e-6),
    }
    return float(values[score])


def test_an_assignment_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "OPTIMAL_CELLS", 11)
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidInput, match="3 x 4 texts have 12 scores; at most 11"):
        align_texts(_random(rng, 3), _random(rng, 4), Method.OPTIMAL)
