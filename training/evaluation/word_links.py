"""Link the words of two sentences by the similarity of their vectors, and score links."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Links = frozenset[tuple[int, int]]
Similarities = NDArray[np.float32]  # (words of a, words of b), 0 to 1

ITERMAX_ALPHA = 0.9
ITERMAX_ROUNDS = 2


def word_means(
    states: NDArray[np.float32], word_of: Sequence[int | None], words: int
) -> NDArray[np.float32]:
    """(tokens, dim) → (words, dim): the mean of each word's sub-word states, zero for a word that
    has none. `word_of` tells each token's word, None for a special one; `states` may be padded."""
    result = np.zeros((words, states.shape[1]), np.float32)
    for word in {word for word in word_of if word is not None}:
        places = [place for place, each in enumerate(word_of) if each == word]
        result[word] = states[places].mean(axis=0)
    return result


def similarities(one: NDArray[np.float32], other: NDArray[np.float32]) -> Similarities:
    """(1 + cosine) / 2 of every pair of words: (n, dim), (m, dim) → (n, m). A word whose vector is
    zero, having no sub-word, is at 0 from all."""
    sides, empty = [], []
    for words in (one, other):
        lengths = np.linalg.norm(words, axis=1, keepdims=True)
        empty.append(lengths[:, 0] == 0)
        sides.append(words / np.where(lengths == 0, 1, lengths))
    result: Similarities = np.clip((1 + sides[0] @ sides[1].T) / 2, 0, 1)
    result[empty[0], :] = 0
    result[:, empty[1]] = 0
    return result


def argmax_intersection(values: Similarities) -> Links:
    """Words that are each other's most similar (SimAlign's Argmax; Jalili Sabet et al., 2020)."""
    if 0 in values.shape:
        return frozenset()
    best_b, best_a = values.argmax(axis=1), values.argmax(axis=0)
    return frozenset(
        (i, int(j)) for i, j in enumerate(best_b) if best_a[j] == i and values[i, j] > 0
    )


def itermax(
    values: Similarities, alpha: float = ITERMAX_ALPHA, rounds: int = ITERMAX_ROUNDS
) -> Links:
    """Argmax, repeated on what is left (Jalili Sabet et al., 2020, section 2.3).

    Before each further round, a similarity counts whole where neither word is linked, times `alpha`
    where one is, and not at all where both are; so a word may gain a second link.
    """
    links: Links = frozenset()
    for _ in range(rounds):
        linked_a = np.isin(np.arange(values.shape[0]), [i for i, _ in links])
        linked_b = np.isin(np.arange(values.shape[1]), [j for _, j in links])
        weight = np.where(linked_a[:, None] | linked_b, np.float32(alpha), np.float32(1))
        weight[np.ix_(linked_a, linked_b)] = 0
        links |= argmax_intersection(values * weight)
    return links


def maximum_weight_matching(values: Similarities) -> Links:
    """The one-to-one links whose similarities have the largest sum (SimAlign's Match).

    Shortest augmenting paths with potentials, O(n²·m) (Jonker and Volgenant, 1987).
    """
    if values.shape[0] > values.shape[1]:
        return frozenset((i, j) for j, i in maximum_weight_matching(values.T))
    cost = -values.astype(np.float64)  # (n, m), n ≤ m
    n, m = cost.shape
    row_potential, column_potential = np.zeros(n), np.zeros(m)
    row_of = np.full(m, -1)
    for start in range(n):
        distance, before = np.full(m, np.inf), np.full(m, -1)
        visited = np.zeros(m, dtype=np.bool_)
        row, column, reached = start, -1, 0.0
        while True:
            through = reached + cost[row] - row_potential[row] - column_potential
            nearer = ~visited & (through < distance)
            distance[nearer], before[nearer] = through[nearer], column
            column = int(np.where(visited, np.inf, distance).argmin())
            visited[column] = True
            reached = float(distance[column])
            if row_of[column] < 0:
                break
            row = int(row_of[column])
        # Potentials move so that every reduced cost stays ≥ 0, and is 0 along the path.
        slack = reached - distance
        row_potential[start] += reached
        inner = visited & (row_of >= 0)
        row_potential[row_of[inner]] += slack[inner]
        column_potential[visited] -= slack[visited]
        while column >= 0:
            previous = int(before[column])
            row_of[column] = start if previous < 0 else row_of[previous]
            column = previous
    return frozenset((int(i), j) for j, i in enumerate(row_of) if i >= 0 and values[i, j] > 0)


METHODS: dict[str, Callable[[Similarities], Links]] = {
    "argmax": argmax_intersection,
    "itermax": itermax,
    "match": maximum_weight_matching,
}


def alignment_error_rate(
    found: Collection[Links], sure: Collection[Links], possible: Collection[Links]
) -> float:
    """AER of all sentences together, in percent: 1 − (|A∩S| + |A∩P|) / (|A| + |S|) (Och and Ney,
    2003). P holds S, whether `possible` repeats it or not. No link found and none sure: 0."""
    hits = total = 0
    for a, s, p in zip(found, sure, possible, strict=True):
        hits += len(a & s) + len(a & (p | s))
        total += len(a) + len(s)
    return 100 * (1 - hits / total) if total else 0.0
