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
from service.alignment.blocks import (
    REFERENCES,
    SCORED_REFERENCES,
    Block,
    Blocks,
    Match,
    is_single,
    scored,
    spread_blocks,
)
from service.alignment.scoring import Floats, Indices, Score, unit_rows

# What these do to the F1 of gold documents is printed by `python -m benchmarks.alignment_quality`.
# Cost of leaving a sentence out. A pair of unrelated texts costs about 0.5.
SKIP_COST = 0.35
# What a pair costs for its merging alone: so little that it only decides between ways that are as
# good as each other, of which the one with more pairs is taken.
MERGE_COST = 1e-3
# How much worse than the best way a merged pair's way may be for its blocks to be encoded.
SLACK = 0.3

# The most sentences that are aligned with no coarser alignment to look around.
_COARSEST = 256
# How far around a coarser alignment the finer one looks.
_RADIUS = 16
ONE_TO_ONE: Step = (1, 1)


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
            spread_blocks(len(sources), min(2, max_merge)),
            spread_blocks(len(targets), min(2, max_merge)),
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
            Blocks(self.source_blocks, unit_rows(source_blocks)),
            Blocks(self.target_blocks, unit_rows(target_blocks)),
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
        single = [pair for pair in paired if is_single(pair)]
        merged = [pair for pair in paired if not is_single(pair)]
        sentences = Blocks.singles(self._sources), Blocks.singles(self._targets)
        spread = (
            spread_blocks(len(self._sources), 1, SCORED_REFERENCES),
            spread_blocks(len(self._targets), 1, SCORED_REFERENCES),
        )
        return sorted(
            scored(single, *sentences, spread, score, k)
            + scored(merged, *blocks, self._references, score, k),
            key=lambda match: match.source,
        )

    def _block_costs(self, sources: Blocks, targets: Blocks) -> dict[Step, Floats]:
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


def _sums(vectors: Floats, size: int) -> Floats:
    """The direction of every `size` neighbours that end before a place: (n + 1, dim)."""
    sums = np.zeros((len(vectors) + 1, vectors.shape[1]), np.float32)
    for shift in range(size):
        sums[size:] += vectors[shift : len(vectors) - size + 1 + shift]
    return unit_rows(sums)


def _base(vectors: Floats, others: Floats) -> Floats:
    """The mean cosine distance of each vector to `others`."""
    return np.asarray(1 - (vectors @ others.T).mean(axis=1), np.float32)


def _cost(cosines: Floats, bases: Floats, step: Step) -> Floats:
    """A pair's distance over what is usual, more of it for more sentences."""
    weight = step[0] * step[1]
    cost = weight * np.maximum(1 - cosines, 0) / np.maximum(bases, 1e-6)
    total: Floats = (cost + MERGE_COST * (weight - 1)).astype(np.float32)
    return total


def _summed_costs(
    band: Band, sources: Floats, targets: Floats, steps: Sequence[Step]
) -> dict[Step, Floats]:
    """The costs of `steps` in every cell, blocks taken for the sums of their sentences."""
    sizes = [
        range(1, 1 + min(len(side), max(step[place] for step in steps)))
        for place, side in enumerate((sources, targets))
    ]
    ends = [
        {size: _sums(side, size) for size in own}
        for side, own in zip((sources, targets), sizes, strict=True)
    ]
    spread = [
        np.concatenate([_spread(sums[p:], REFERENCES // len(side)) for p, sums in side.items()])
        for side in ends
    ]
    bases = [
        {p: _base(sums, others) for p, sums in side.items()}
        for side, others in zip(ends, reversed(spread), strict=True)
    ]
    rows, columns = band.cells
    costs = {}
    for p, q in steps:
        if p not in sizes[0] or q not in sizes[1]:
            continue
        cosines = cosines_in(band, ends[0][p], ends[1][q])
        cost = _cost(cosines, bases[0][p][rows] + bases[1][q][columns], (p, q))
        cost[(rows < p) | (columns < q)] = np.inf
        costs[p, q] = cost
    return costs


def _spread(vectors: Floats, count: int) -> Floats:
    spread: Floats = vectors[np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(int)]
    return spread


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
