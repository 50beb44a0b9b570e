"""Neighbouring sentences read as one text, and how well two such blocks fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.alignment.scoring import Floats, Indices, Score, score_pairs

# Blocks of the other document that a block's distance to others is measured over.
REFERENCES = 64
# The same for the neighbours of a margin.
SCORED_REFERENCES = 1_024


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """Neighbouring sentences that are read as one text, from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Match:
    """Neighbouring source sentences that say what neighbouring target sentences say."""

    source: Block
    target: Block
    score: float
    cosine: float

    @property
    def merged(self) -> bool:
        """Whether a side has several sentences, so that both were read as paragraphs."""
        return self.source.end - self.source.start > 1 or self.target.end - self.target.start > 1


class Blocks:
    """Blocks with their vectors."""

    def __init__(self, blocks: Sequence[Block], vectors: Floats) -> None:
        self.vectors = vectors
        self._place = {block: place for place, block in enumerate(blocks)}

    @classmethod
    def singles(cls, vectors: Floats) -> Blocks:
        """Every sentence by itself, with these vectors."""
        return cls([Block(index, index + 1) for index in range(len(vectors))], vectors)

    def places(self, blocks: Sequence[Block]) -> Indices:
        """Where `blocks` stand among these."""
        return np.array([self._place[block] for block in blocks], np.int64)

    def of(self, blocks: Sequence[Block]) -> Floats:
        """The vectors of `blocks`: (blocks, dim)."""
        return self.vectors[self.places(blocks)]


def is_single(pair: tuple[Block, Block]) -> bool:
    """Whether neither side is merged."""
    return all(block.end - block.start == 1 for block in pair)


def spread_blocks(sentences: int, size: int, count: int = REFERENCES) -> tuple[Block, ...]:
    """At most `count` blocks without overlap, evenly spread over a document."""
    size = min(size, sentences)
    starts = np.linspace(0, sentences - size, min(count, sentences // size)).astype(int)
    return tuple(Block(start, start + size) for start in starts.tolist())


def scored(
    pairs: Sequence[tuple[Block, Block]],
    sources: Blocks,
    targets: Blocks,
    references: tuple[Sequence[Block], Sequence[Block]],
    score: Score,
    k: int,
) -> list[Match]:
    """Pairs of blocks with their scores.

    The neighbours of a margin are, beside the partner, those of `references` (of sources, of
    targets) that do not overlap it. k is clamped to their number.
    """
    if not pairs:
        return []
    ones, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    one, other = sources.of(ones), targets.of(others)
    cosines = np.clip(np.einsum("cd,cd->c", one, other), np.float32(-1), np.float32(1))
    one_mean = _mean_cosine(one, cosines, others, targets.of(references[1]), references[1], k)
    other_mean = _mean_cosine(other, cosines, ones, sources.of(references[0]), references[0], k)
    scores = score_pairs(score, cosines, one_mean, other_mean)
    rows = zip(pairs, scores.tolist(), cosines.tolist(), strict=True)
    return [Match(*pair, value, cosine) for pair, value, cosine in rows]


def _mean_cosine(
    vectors: Floats,
    cosines: Floats,
    partners: Sequence[Block],
    others: Floats,
    references: Sequence[Block],
    k: int,
) -> Floats:
    """The mean cosine of each vector with its k nearest: its partner and references beside it."""
    near: Floats = vectors @ others.T
    starts, ends = (np.array([getattr(b, edge) for b in references]) for edge in ("start", "end"))
    for row, partner in enumerate(partners):
        near[row, (starts < partner.end) & (partner.start < ends)] = -np.inf
    near = np.concatenate([cosines[:, None], near], axis=1)
    k = min(k, near.shape[1])
    nearest = np.partition(near, near.shape[1] - k, axis=1)[:, near.shape[1] - k :]
    there = np.isfinite(nearest)
    mean = np.where(there, nearest, 0).sum(axis=1) / there.sum(axis=1)
    clipped: Floats = np.clip(mean, -1, 1).astype(np.float32, copy=False)
    return clipped
