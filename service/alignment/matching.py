"""Which texts of two unordered lists are translations of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.alignment.scoring import (
    Floats,
    Indices,
    Neighbours,
    Score,
    nearest_neighbours,
    score_pairs,
)


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


def align_one_to_one(
    sources: Floats,
    targets: Floats,
    *,
    score: Score = Score.MARGIN_RATIO,
    k: int = 4,
    threshold: float | None = None,
) -> Alignment:
    """Match each text with at most one of the other list, as Artetxe and Schwenk (2019) do.

    Rows are unit vectors, (n, dim) and (m, dim); neither list is empty. Each text proposes, among
    its k nearest neighbours, the one with the best score ("max" retrieval: forward and backward
    candidates together); proposals are taken from the best down as long as both texts are free.
    Where several neighbours tie for the best, as equal texts do, it proposes each, so copies pair
    up in order. Equal scores go by source index, then target index. Pairs below `threshold` are
    left out. k is clamped to the length of the list searched. Time grows with n times m, memory
    does not.
    """
    forward, backward = nearest_neighbours(sources, targets, k)
    source_mean, target_mean = forward.mean_cosine, backward.mean_cosine
    proposals = [
        _proposals(forward, score, source_mean, target_mean),
        _swapped(_proposals(backward, score, target_mean, source_mean)),
    ]
    pairs = _greedy(_joined(proposals), threshold)
    taken_sources = {pair.source for pair in pairs}
    taken_targets = {pair.target for pair in pairs}
    return Alignment(
        tuple(pairs),
        tuple(index for index in range(len(sources)) if index not in taken_sources),
        tuple(index for index in range(len(targets)) if index not in taken_targets),
    )


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


def _joined(sides: list[_Candidates]) -> _Candidates:
    return _Candidates(
        np.concatenate([side.sources for side in sides]),
        np.concatenate([side.targets for side in sides]),
        np.concatenate([side.scores for side in sides]),
        np.concatenate([side.cosines for side in sides]),
    )


def _greedy(candidates: _Candidates, threshold: float | None) -> list[Pair]:
    order = np.lexsort((candidates.targets, candidates.sources, -candidates.scores))
    free_sources, free_targets = set(candidates.sources.tolist()), set(candidates.targets.tolist())
    pairs = []
    for index in order.tolist():
        source, target = int(candidates.sources[index]), int(candidates.targets[index])
        value = float(candidates.scores[index])
        if threshold is not None and value < threshold:
            break
        if source in free_sources and target in free_targets:
            free_sources.remove(source)
            free_targets.remove(target)
            pairs.append(Pair(source, target, value, float(candidates.cosines[index])))
    return pairs
