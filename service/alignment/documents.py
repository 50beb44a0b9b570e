"""Which sentences of two documents belong together, in order: one to one, merged, or left out.

After Thompson and Koehn (2019, "Vecalign: Improved Sentence Alignment in Linear Time and Space"):
documents are halved by adding neighbouring vectors until they are small, aligned there, and each
finer alignment looks only around the coarser one. A pair's cost is its cosine distance over what
its two sides have to others, so that texts which lie close to everything do not attract.

Differently from there, a block of several sentences gets a vector of its own from the model, by the
adapter of what it is, a paragraph. Since encoding all blocks would cost ten times the sentences,
the first alignment takes sums of their vectors, and only blocks on ways about as good as the best
are encoded (`Plan`), for the second and last alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.alignment.band import (
    SKIP_SOURCE,
    SKIP_TARGET,
    Band,
    Bead,
    Step,
    cheapest,
    cosines_in,
    through,
)
from service.alignment.scoring import Floats, Indices, Score, score_pairs, unit_rows

# What these do to the F1 of gold documents is printed by `python -m benchmarks.alignment_quality`.
# Cost of leaving a sentence out. A pair of unrelated texts costs about 0.5.
SKIP_COST = 0.35
# What a pair costs for its merging alone: so little that it only decides between ways that are as
# good as each other, of which the one with more pairs is taken.
MERGE_COST = np.float32(1e-3)
# How much worse than the best way a merged pair's way may be for its blocks to be encoded.
SLACK = 0.3

# The most sentences that are aligned with no coarser alignment to look around.
_COARSEST = 256
# How far around a coarser alignment the finer one looks.
_RADIUS = 16
# Blocks of the other document that a block's distance to others is measured over.
_REFERENCES = 64
# The same for the neighbours of a margin.
_SCORED_REFERENCES = 1_024

ONE_TO_ONE: Step = (1, 1)


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


class Plan:
    """The first alignment of two documents, and the blocks that the second needs vectors of."""

    def __init__(self, sources: Floats, targets: Floats, *, max_merge: int = 4) -> None:
        """Rows are the sentences' vectors, (n, dim) and (m, dim), neither side empty.

        Up to `max_merge` sentences of either side are taken together.
        """
        self._sources, self._targets = unit_rows(sources), unit_rows(targets)
        sides = self._sources, self._targets
        self._band = _band_of(*sides)
        steps = [(p, q) for p in range(1, max_merge + 1) for q in range(1, max_merge + 1)]
        costs = _summed_costs(self._band, *sides, steps)
        self._one_to_one = costs[ONE_TO_ONE]
        best, passing, _ = through(self._band, costs, SKIP_COST)
        rows, columns = self._band.cells
        # For each step, the cells where candidates of it end.
        self._ends: dict[Step, Indices] = {}
        source_blocks, target_blocks = set[Block](), set[Block]()
        for (p, q), total in passing.items():
            if (p, q) == ONE_TO_ONE:
                continue
            ends = np.flatnonzero(total <= best + SLACK)
            self._ends[p, q] = ends
            source_blocks |= {Block(i - p, i) for i in rows[ends].tolist()}
            target_blocks |= {Block(j - q, j) for j in columns[ends].tolist()}
        self._references = (
            _spread_blocks(len(sources), min(2, max_merge)),
            _spread_blocks(len(targets), min(2, max_merge)),
        )
        if source_blocks:
            source_blocks |= set(self._references[0])
            target_blocks |= set(self._references[1])
        self.source_blocks: tuple[Block, ...] = tuple(sorted(source_blocks))
        self.target_blocks: tuple[Block, ...] = tuple(sorted(target_blocks))

    def matches(
        self,
        source_blocks: Floats,
        target_blocks: Floats,
        *,
        score: Score = Score.MARGIN_RATIO,
        k: int = 4,
    ) -> list[Match]:
        """The alignment, in order, by the vectors of `source_blocks` and `target_blocks`.

        What is in no match was left out. A margin's neighbours are, beside the partner, up to 1,024
        sentences of the other document, evenly spread, or for merged matches up to 64 blocks of
        two sentences that do not overlap the partner.
        """
        blocks = (
            _Blocks(self.source_blocks, unit_rows(source_blocks)),
            _Blocks(self.target_blocks, unit_rows(target_blocks)),
        )
        costs = {ONE_TO_ONE: self._one_to_one}
        if self.source_blocks:
            costs |= self._block_costs(*blocks)
        _, beads = cheapest(self._band, costs, SKIP_COST)
        paired = [
            (Block(b.source_start, b.source_end), Block(b.target_start, b.target_end))
            for b in beads
            if b.step not in (SKIP_SOURCE, SKIP_TARGET)
        ]
        single = [pair for pair in paired if _is_single(pair)]
        merged = [pair for pair in paired if not _is_single(pair)]
        sentences = _Blocks.singles(self._sources), _Blocks.singles(self._targets)
        spread = (
            _spread_blocks(len(self._sources), 1, _SCORED_REFERENCES),
            _spread_blocks(len(self._targets), 1, _SCORED_REFERENCES),
        )
        return sorted(
            _scored(single, *sentences, spread, score, k)
            + _scored(merged, *blocks, self._references, score, k),
            key=lambda match: match.source,
        )

    def _block_costs(self, sources: _Blocks, targets: _Blocks) -> dict[Step, Floats]:
        rows, columns = self._band.cells
        source_base = _base(sources.vectors, targets.of(self._references[1]))
        target_base = _base(targets.vectors, sources.of(self._references[0]))
        costs = {}
        for (p, q), ends in self._ends.items():
            one = sources.places([Block(i - p, i) for i in rows[ends].tolist()])
            other = targets.places([Block(j - q, j) for j in columns[ends].tolist()])
            cosines = np.einsum("cd,cd->c", sources.vectors[one], targets.vectors[other])
            cost = np.full(len(rows), np.inf, np.float32)
            cost[ends] = _cost(cosines, source_base[one] + target_base[other], (p, q))
            costs[p, q] = cost
        return costs


class _Blocks:
    """Blocks with their vectors."""

    def __init__(self, blocks: Sequence[Block], vectors: Floats) -> None:
        self.vectors = vectors
        self._place = {block: place for place, block in enumerate(blocks)}

    @classmethod
    def singles(cls, vectors: Floats) -> _Blocks:
        return cls([Block(index, index + 1) for index in range(len(vectors))], vectors)

    def places(self, blocks: Sequence[Block]) -> Indices:
        return np.array([self._place[block] for block in blocks], np.int64)

    def of(self, blocks: Sequence[Block]) -> Floats:
        return self.vectors[self.places(blocks)]


def _is_single(pair: tuple[Block, Block]) -> bool:
    return all(block.end - block.start == 1 for block in pair)


def _spread_blocks(sentences: int, size: int, count: int = _REFERENCES) -> tuple[Block, ...]:
    """At most `count` blocks without overlap, evenly spread over a document."""
    size = min(size, sentences)
    starts = np.linspace(0, sentences - size, min(count, sentences // size)).astype(int)
    return tuple(Block(start, start + size) for start in starts.tolist())


def _sums(vectors: Floats, size: int) -> Floats:
    """The direction of every `size` neighbours that end before a place: (n + 1, dim)."""
    sums = np.zeros((len(vectors) + 1, vectors.shape[1]), np.float32)
    for shift in range(size):
        sums[size:] += vectors[shift : len(vectors) - size + 1 + shift]
    return unit_rows(sums)


def _base(vectors: Floats, others: Floats) -> Floats:
    """The mean cosine distance of each vector to `others`."""
    base: Floats = 1 - (vectors @ others.T).mean(axis=1)
    return base


def _cost(cosines: Floats, bases: Floats, step: Step) -> Floats:
    """A pair's distance over what is usual, more of it for more sentences."""
    weight = np.float32(step[0] * step[1])
    distances = np.maximum(1 - cosines, np.float32(0))
    cost = weight * distances / np.maximum(bases, np.float32(1e-6)) + MERGE_COST * (weight - 1)
    weighted: Floats = cost.astype(np.float32, copy=False)
    return weighted


def _summed_costs(
    band: Band, sources: Floats, targets: Floats, steps: Sequence[Step]
) -> dict[Step, Floats]:
    """The costs of `steps` in every cell, blocks taken for the sums of their sentences."""
    longest = min(max(max(step) for step in steps), len(sources), len(targets))
    ends = [{p: _sums(side, p) for p in range(1, longest + 1)} for side in (sources, targets)]
    spread = [
        np.concatenate([_spread(sums[p:], _REFERENCES // longest) for p, sums in side.items()])
        for side in ends
    ]
    bases = [
        {p: _base(sums, others) for p, sums in side.items()}
        for side, others in zip(ends, reversed(spread), strict=True)
    ]
    rows, columns = band.cells
    costs = {}
    for p, q in steps:
        if max(p, q) > longest:
            continue
        cosines = cosines_in(band, ends[0][p], ends[1][q])
        cost = _cost(cosines, bases[0][p][rows] + bases[1][q][columns], (p, q))
        cost[(rows < p) | (columns < q)] = np.inf
        costs[p, q] = cost
    return costs


def _spread(vectors: Floats, count: int) -> Floats:
    return vectors[np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(int)]


def _band_of(sources: Floats, targets: Floats) -> Band:
    """Where the finest alignment looks: around the next coarser one."""
    if max(len(sources), len(targets)) <= _COARSEST:
        return Band.whole(len(sources), len(targets))
    halves = _halved(sources), _halved(targets)
    coarse = _band_of(*halves)
    _, beads = cheapest(coarse, _summed_costs(coarse, *halves, [ONE_TO_ONE]), SKIP_COST)
    n, m = len(sources), len(targets)
    doubled = (
        Bead(
            *(min(2 * i, n) for i in (bead.source_start, bead.source_end)),
            *(min(2 * j, m) for j in (bead.target_start, bead.target_end)),
        )
        for bead in beads
    )
    return Band.around(doubled, n, m, _RADIUS)


def _halved(vectors: Floats) -> Floats:
    """Neighbours added two by two; the last alone where their number is odd."""
    return unit_rows(np.add.reduceat(vectors, np.arange(0, len(vectors), 2), axis=0))


def _scored(
    pairs: Sequence[tuple[Block, Block]],
    sources: _Blocks,
    targets: _Blocks,
    references: tuple[Sequence[Block], Sequence[Block]],
    score: Score,
    k: int,
) -> list[Match]:
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
