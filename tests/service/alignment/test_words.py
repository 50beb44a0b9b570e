from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.alignment.segmentation import Span
from service.alignment.words import Link, WordMethod, link_words, word_vectors
from training.evaluation import word_links

Floats = NDArray[np.float32]

# The same methods, written by others for evaluation.
ORACLES = {
    WordMethod.ARGMAX: word_links.argmax_intersection,
    WordMethod.ITERMAX: word_links.itermax,
    WordMethod.OPTIMAL: word_links.maximum_weight_matching,
}


@st.composite
def sentences(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Word vectors of two sentences, now and then zero, as of a word without a token."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sides = []
    for _ in range(2):
        side = rng.normal(size=(draw(st.integers(1, 12)), 6)).astype(np.float32)
        side[rng.random(len(side)) < 0.1] = 0
        sides.append(side)
    return sides[0], sides[1]


def _links(links: list[Link]) -> set[tuple[int, int]]:
    return {(link.source, link.target) for link in links}


@settings(deadline=None)  # the first run imports scipy
@given(sentences(), st.sampled_from(WordMethod))
def test_links_are_those_of_the_evaluation(
    words: tuple[Floats, Floats], method: WordMethod
) -> None:
    expected = ORACLES[method](word_links.similarities(*words))
    links = link_words(*words, method)
    assert _links(links) == expected
    unit = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9) for side in words]
    for link in links:
        cosine = float(unit[0][link.source] @ unit[1][link.target])
        assert link.cosine == pytest.approx(cosine, abs=1e-6)


@settings(deadline=None)
@given(sentences(), st.sampled_from(WordMethod), st.floats(-1, 1))
def test_a_threshold_only_leaves_links_out(
    words: tuple[Floats, Floats], method: WordMethod, threshold: float
) -> None:
    every = link_words(*words, method)
    assert link_words(*words, method, threshold) == [x for x in every if x.cosine >= threshold]


@settings(deadline=None)
@given(sentences(), st.sampled_from(WordMethod))
def test_turning_the_sentences_round_turns_the_links(
    words: tuple[Floats, Floats], method: WordMethod
) -> None:
    turned = link_words(words[1], words[0], method)
    assert _links(link_words(*words, method)) == {(x.target, x.source) for x in turned}


def test_a_word_is_the_mean_of_the_tokens_that_reach_into_it() -> None:
    states = np.arange(8, dtype=np.float32).reshape(4, 2)
    offsets = np.array([[0, 2], [2, 5], [5, 9], [9, 9]])
    words = [Span(0, 5), Span(4, 6), Span(6, 8), Span(9, 12)]
    np.testing.assert_array_equal(
        word_vectors(states, offsets, words), [[1, 2], [3, 4], [4, 5], [0, 0]]
    )
    assert word_vectors(states, offsets, []).shape == (0, 2)


def test_sentences_without_words_have_no_links() -> None:
    nothing, one = np.zeros((0, 3), np.float32), np.ones((1, 3), np.float32)
    for method in WordMethod:
        assert link_words(nothing, one, method) == []
        assert link_words(one, nothing, method) == []
