"""Which words of a sentence and of its translation belong together, by the states of their tokens.

The methods are those of Jalili Sabet et al. (2020, "SimAlign: High Quality Word Alignments without
Parallel Training Data using Static and Contextualized Embeddings").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.alignment.scoring import Floats, Indices, unit_rows
from service.alignment.segmentation import Span

# In a further round of itermax, what a similarity counts for where one of the words is linked.
ITERMAX_ALPHA = 0.9
ITERMAX_ROUNDS = 2


class WordMethod(StrEnum):
    """How links are chosen by their cosines."""

    # Words of which each is the other's nearest.
    ARGMAX = "argmax"
    # The same, and a second round over what is left, in which a word may gain another link.
    ITERMAX = "itermax"
    # One to one, with the greatest sum of similarities.
    OPTIMAL = "optimal"


@dataclass(frozen=True, slots=True)
class Link:
    """A word of the source and one of the target, by index, and the cosine of their vectors."""

    source: int
    target: int
    cosine: float


def word_vectors(states: Floats, offsets: Indices, words: Sequence[Span]) -> Floats:
    """The mean of the states of each word's tokens: (words, dim).

    States are (tokens, dim), offsets (tokens, 2). A token that reaches into several words counts
    in each; a word that no token reaches has a zero vector.
    """
    vectors = np.zeros((len(words), states.shape[1]), np.float32)
    starts, ends = offsets[:, 0], offsets[:, 1]
    for index, word in enumerate(words):
        own = (starts < word.end) & (ends > word.start)
        if own.any():
            vectors[index] = states[own].mean(axis=0)
    return vectors


def link_words(
    sources: Floats, targets: Floats, method: WordMethod, threshold: float | None = None
) -> list[Link]:
    """The links between the words of two sentences, by source, then target.

    Rows are their vectors, (n, dim) and (m, dim), of any length; zero vectors are never linked.
    Equal cosines go by index. Links below `threshold` are left out of what was found.
    """
    sides = unit_rows(sources), unit_rows(targets)
    known = [np.flatnonzero(np.abs(side).sum(axis=1)) for side in sides]
    if not all(map(len, known)):
        return []
    cosines = np.clip(sides[0][known[0]] @ sides[1][known[1]].T, -1, 1)
    linked = _METHODS[method](((1 + cosines) / 2).astype(np.float32, copy=False))
    return [
        Link(int(known[0][row]), int(known[1][column]), float(cosines[row, column]))
        for row, column in zip(*np.nonzero(linked), strict=True)
        if threshold is None or cosines[row, column] >= threshold
    ]


def _argmax(similarities: Floats) -> Indices:
    """1 where each of two is the other's most similar, of those above 0: (n, m)."""
    rows, columns = similarities.argmax(axis=1), similarities.argmax(axis=0)
    linked = np.zeros(similarities.shape, np.int64)
    mutual = columns[rows] == np.arange(len(rows))
    linked[np.flatnonzero(mutual), rows[mutual]] = 1
    return np.where(similarities > 0, linked, 0)


def _itermax(similarities: Floats) -> Indices:
    linked = _argmax(similarities)
    for _ in range(ITERMAX_ROUNDS - 1):
        rows, columns = linked.sum(axis=1)[:, None] > 0, linked.sum(axis=0)[None, :] > 0
        weight = np.where(rows | columns, np.float32(ITERMAX_ALPHA), np.float32(1))
        linked = linked | _argmax(similarities * np.where(rows & columns, np.float32(0), weight))
    return linked


def _optimal(similarities: Floats) -> Indices:
    from scipy.optimize import linear_sum_assignment  # slow to import, rarely needed

    linked = np.zeros(similarities.shape, np.int64)
    linked[linear_sum_assignment(similarities, maximize=True)] = 1
    return linked


_METHODS: dict[WordMethod, Callable[[Floats], Indices]] = {
    WordMethod.ARGMAX: _argmax,
    WordMethod.ITERMAX: _itermax,
    WordMethod.OPTIMAL: _optimal,
}
