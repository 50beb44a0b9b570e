"""Which texts of two unordered lists are translations of each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.alignment.scoring import (
    Floats,
    Indices,
    Neighbours,
    Score,
    cosine_similarities,
    nearest_neighbours,
    score_pairs,
    unit_rows,
)
from service.errors import InvalidInput

# Scores that an assignment is searched in: 4,096 texts against 4,096 take about 200 MB and some
# seconds, twice as many four times the memory and up to eight times as long.
OPTIMAL_CELLS = 1 << 24


class Method(StrEnum):
    """How pairs are chosen by their scores."""

    # Proposals of both sides from the best down, while both texts are free.
    ONE_TO_ONE = "one_to_one"
    # Pairs of which each is the other's best.
    MUTUAL = "mutual"
    # Each source's best, whoever else has the same target.
    BEST = "best"
    # One to one with the greatest sum of scores.
    OPTIMAL = "optimal"


@dataclass(frozen=True, slots=True)
class Pair:
    """One source text and one target text, by index."""

    source: int
    target: int
    score: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs, best first, and the indices that are in no pair, in order."""

    pairs: tuple[Pair, ...]
    unaligned_source: tuple[int, ...]
    unaligned_target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Candidates:
    sources: Indices  # (c,)
    targets: Indices  # (c,)
    scores: Floats  # (c,)
    cosines: Floats  # (c,)


def align_texts(
    sources: Floats,
    targets: Floats,
    method: Method = Method.ONE_TO_ONE,
    *,
    score: Score = Score.MARGIN_RATIO,
    k: int = 4,
    threshold: float | None = None,
) -> Alignment:
    """The pairs that `method` finds in two lists of vectors, (n, dim) and (m, dim), best first.

    Vectors may be of any length, none is empty of rows, k is at least 1 and clamped to the length
    of the list searched. All but OPTIMAL look among each text's k nearest neighbours, in time that
    grows with n times m and memory that does not. Equal scores go by source index, then target
    index. Pairs below `threshold` are left out of what was found. Raises InvalidInput where
    OPTIMAL would need more than OPTIMAL_CELLS scores.
    """
    sources, targets = unit_rows(sources), unit_rows(targets)
    if method is Method.OPTIMAL:
        pairs = _sorted(_assigned(sources, targets, score, k))
    else:
        candidates = _candidates(sources, targets, score, k)
        pairs = _SELECTIONS[method](candidates)
    if threshold is not None:
        pairs = [pair for pair in pairs if pair.score >= threshold]
    taken_sources = {pair.source for pair in pairs}
    taken_targets = {pair.target for pair in pairs}
    return Alignment(
        tuple(pairs),
        tuple(index for index in range(len(sources)) if index not in taken_sources),
        tuple(index for index in range(len(targets)) if index not in taken_targets),
    )


def align_one_to_one(
    sources: Floats,
    targets: Floats,
    *,
    score: Score = Score.MARGIN_RATIO,
    k: int = 4,
    threshold: float | None = None,
) -> Alignment:
    """Match each text with at most one of the other list, as Artetxe and Schwenk (2019) do.

    Each text proposes, among its k nearest neighbours, the one with the best score ("max"
    retrieval: forward and backward candidates together); proposals are taken from the best down as
    long as both texts are free. Where several neighbours tie for the best, as equal texts do, it
    proposes each, so copies pair up in order. Otherwise as `align_texts`.
    """
    return align_texts(sources, targets, score=score, k=k, threshold=threshold)


def _candidates(
    sources: Floats, targets: Floats, score: Score, k: int
) -> tuple[_Candidates, _Candidates]:
    """What the sources propose, and what the targets do."""
    forward, backward = nearest_neighbours(sources, targets, k)
    source_mean, target_mean = forward.mean_cosine, backward.mean_cosine
    return (
        _proposals(forward, score, source_mean, target_mean),
        _swapped(_proposals(backward, score, target_mean, source_mean)),
    )


def _assigned(sources: Floats, targets: Floats, score: Score, k: int) -> _Candidates:
    cells = len(sources) * len(targets)
    if cells > OPTIMAL_CELLS:
        raise InvalidInput(
            f"method is optimal, and {len(sources)} x {len(targets)} texts have {cells} scores; "
            f"at most {OPTIMAL_CELLS} are allowed: use one_to_one",
            "method",
        )
    from scipy.optimize import linear_sum_assignment  # slow to import, rarely needed

    forward, backward = nearest_neighbours(sources, targets, k)
    cosines = cosine_similarities(sources, targets)
    means = forward.mean_cosine[:, None], backward.mean_cosine[None, :]
    scores = score_pairs(score, cosines, *means)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return _Candidates(rows, columns, scores[rows, columns], cosines[rows, columns])


def _proposals(
    neighbours: Neighbours, score: Score, own_mean: Floats, other_mean: Floats
) -> _Candidates:
    """For each text its best-scoring neighbour, or all that tie for it."""
    scores = score_pairs(
        score, neighbours.cosines, own_mean[:, None], other_mean[neighbours.indices]
    )
    rows, places = np.nonzero(scores == scores.max(axis=1, keepdims=True))
    return _Candidates(
        rows,
        neighbours.indices[rows, places],
        scores[rows, places],
        neighbours.cosines[rows, places],
    )


def _swapped(candidates: _Candidates) -> _Candidates:
    return _Candidates(
        candidates.targets, candidates.sources, candidates.scores, candidates.cosines
    )


def _joined(one: _Candidates, other: _Candidates) -> _Candidates:
    return _Candidates(
        np.concatenate([one.sources, other.sources]),
        np.concatenate([one.targets, other.targets]),
        np.concatenate([one.scores, other.scores]),
        np.concatenate([one.cosines, other.cosines]),
    )


def _taken(candidates: _Candidates, places: Indices) -> _Candidates:
    return _Candidates(
        candidates.sources[places],
        candidates.targets[places],
        candidates.scores[places],
        candidates.cosines[places],
    )


def _sorted(candidates: _Candidates) -> list[Pair]:
    order = np.lexsort((candidates.targets, candidates.sources, -candidates.scores))
    ordered = _taken(candidates, order)
    columns = (ordered.sources, ordered.targets, ordered.scores, ordered.cosines)
    return list(map(Pair, *(column.tolist() for column in columns)))


def _one_to_one(proposals: tuple[_Candidates, _Candidates]) -> list[Pair]:
    candidates = _sorted(_joined(*proposals))
    free_sources = {pair.source for pair in candidates}
    free_targets = {pair.target for pair in candidates}
    pairs = []
    for pair in candidates:
        if pair.source in free_sources and pair.target in free_targets:
            free_sources.remove(pair.source)
            free_targets.remove(pair.target)
            pairs.append(pair)
    return pairs


def _best(proposals: tuple[_Candidates, _Candidates]) -> list[Pair]:
    forward = proposals[0]
    return _sorted(_taken(forward, _firsts(forward.sources, forward.targets)))


def _mutual(proposals: tuple[_Candidates, _Candidates]) -> list[Pair]:
    """One to one among the proposals that both sides make."""
    forward, backward = proposals
    back = set(zip(backward.sources.tolist(), backward.targets.tolist(), strict=True))
    ways = zip(forward.sources.tolist(), forward.targets.tolist(), strict=True)
    places = np.array([place for place, pair in enumerate(ways) if pair in back], np.int64)
    both = _taken(forward, places)
    return _one_to_one((both, both))


def _firsts(keys: Indices, then: Indices) -> Indices:
    """The place of each key's first entry, ordered by `then`."""
    order = np.lexsort((then, keys))
    _, places = np.unique(keys[order], return_index=True)
    return order[places]


_SELECTIONS: dict[Method, Callable[[tuple[_Candidates, _Candidates]], list[Pair]]] = {
    Method.ONE_TO_ONE: _one_to_one,
    Method.MUTUAL: _mutual,
    Method.BEST: _best,
}
