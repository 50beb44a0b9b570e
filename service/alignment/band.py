"""The cheapest way through two sequences, kept within a band: dynamic programming over numpy rows.

A cell (i, j) says that i items of the source and j of the target are done. A step of p sources and
q targets leads from (i - p, j - q) to (i, j); what it costs stands at the cell where it ends. Cells
outside the band are not looked at, so time and memory grow with the band, not with the product of
the lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.alignment.scoring import Floats, Indices

Costs = NDArray[np.float64]

# Sources and targets of a step.
Step = tuple[int, int]
SKIP_SOURCE: Step = (1, 0)
SKIP_TARGET: Step = (0, 1)

# Rows whose cosines are computed in one matrix product.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class Bead:
    """Items `source_start` up to `source_end` with items `target_start` up to `target_end`."""

    source_start: int
    source_end: int
    target_start: int
    target_end: int

    @property
    def step(self) -> Step:
        """How many sources and targets it has."""
        return self.source_end - self.source_start, self.target_end - self.target_start


@dataclass(frozen=True, slots=True)
class Band:
    """The cells that are looked at: in row i the columns first[i] to last[i], row after row.

    Rows are 0 to n, columns 0 to m; the first and the last cell are in it, and a way between them.
    """

    first: Indices  # (n + 1,)
    last: Indices  # (n + 1,), included
    starts: Indices  # (n + 2,): where the cells of a row begin, and where all end

    @classmethod
    def of(cls, first: Indices, last: Indices) -> Band:
        """The band of these columns."""
        return cls(first, last, np.concatenate([[0], np.cumsum(last - first + 1)]))

    @classmethod
    def whole(cls, sources: int, targets: int) -> Band:
        """Every cell."""
        zeros = np.zeros(sources + 1, np.int64)
        return cls.of(zeros, zeros + targets)

    @classmethod
    def around(cls, beads: Iterable[Bead], sources: int, targets: int, radius: int) -> Band:
        """The cells at most `radius` rows or columns away from a way through them."""
        first = np.full(sources + 1, targets)
        last = np.zeros(sources + 1, np.int64)
        first[0] = 0
        for bead in beads:
            rows = slice(bead.source_start, bead.source_end + 1)
            np.minimum(first[rows], bead.target_start, out=first[rows])
            np.maximum(last[rows], bead.target_end, out=last[rows])
        last[sources] = targets
        # Columns rise with the rows, so the rows around tell the extremes.
        rows_before = np.maximum(np.arange(sources + 1) - radius, 0)
        rows_after = np.minimum(np.arange(sources + 1) + radius, sources)
        return cls.of(
            np.maximum(first[rows_before] - radius, 0),
            np.minimum(last[rows_after] + radius, targets),
        )

    @property
    def cells(self) -> tuple[Indices, Indices]:
        """The row and the column of every cell."""
        rows = np.repeat(np.arange(len(self.first)), self.last - self.first + 1)
        return rows, np.arange(self.starts[-1]) - self.starts[rows] + self.first[rows]

    def places(self, rows: Indices, columns: Indices) -> Indices:
        """Where these cells stand among all; -1 for those outside."""
        inside = (rows >= 0) & (rows < len(self.first))
        safe = np.where(inside, rows, 0)
        inside &= (columns >= self.first[safe]) & (columns <= self.last[safe])
        return np.where(inside, self.starts[safe] + columns - self.first[safe], -1)

    def reversed(self) -> Band:
        """The band seen from the other end. Its cells come in the reverse order."""
        targets = self.last[-1]
        return Band.of((targets - self.last)[::-1], (targets - self.first)[::-1])


def cosines_in(band: Band, sources: Floats, targets: Floats) -> Floats:
    """sources[i] @ targets[j] of every cell (i, j); (n + 1, dim) and (m + 1, dim)."""
    rows, columns = band.cells
    cosines = np.empty(len(rows), np.float32)
    for start in range(0, len(band.first), _ROWS):
        end = min(start + _ROWS, len(band.first))
        left, right = band.first[start], band.last[end - 1] + 1
        product = sources[start:end] @ targets[left:right].T
        cells = slice(band.starts[start], band.starts[end])
        cosines[cells] = product[rows[cells] - start, columns[cells] - left]
    return cosines


def cheapest(band: Band, costs: Mapping[Step, Floats], skip: float) -> tuple[Costs, list[Bead]]:
    """What the cheapest way to each cell costs, and the beads of the cheapest way to the last.

    Steps of `costs` have at least one source. A single source or target may always be skipped for
    `skip`. Of ways that cost the same, the one by an earlier step of `costs` is taken.
    """
    steps = [*costs, SKIP_SOURCE, SKIP_TARGET]
    totals = np.full(band.starts[-1], np.inf)
    choices = np.zeros(band.starts[-1], np.int8)
    first, last, starts = (values.tolist() for values in (band.first, band.last, band.starts))
    for row in range(len(first)):
        low, high, base = first[row], last[row], starts[row]
        best = totals[base : starts[row + 1]]
        choice = choices[base : starts[row + 1]]
        if row == 0:
            best[0] = 0.0
        for number, (down, right) in enumerate(steps[:-1]):
            before = row - down
            if before < 0:
                continue
            # The columns that the step can end in.
            left = max(low, first[before] + right)
            end = min(high, last[before] + right) + 1
            if left >= end:
                continue
            origin = starts[before] - first[before] - right
            if (down, right) == SKIP_SOURCE:
                value = totals[origin + left : origin + end] + skip
            else:
                cost = costs[down, right][base + left - low : base + end - low]
                value = totals[origin + left : origin + end] + cost
            there = best[left - low : end - low]
            better = value < there
            np.copyto(there, value, where=better)
            np.copyto(choice[left - low : end - low], number, where=better)
        # Skipping targets: the least so far, each column further for `skip` more.
        ramp = np.arange(high - low + 1) * skip
        level = best - ramp
        least = np.minimum.accumulate(level)
        skipped = least < level
        np.copyto(best, least + ramp, where=skipped)
        np.copyto(choice, len(steps) - 1, where=skipped)
    return totals, _trace(band, choices, steps)


def _trace(band: Band, choices: NDArray[np.int8], steps: list[Step]) -> list[Bead]:
    beads = []
    row, column = len(band.first) - 1, int(band.last[-1])
    first, starts = band.first.tolist(), band.starts.tolist()
    while row or column:
        down, right = steps[choices[starts[row] + column - first[row]]]
        beads.append(Bead(row - down, row, column - right, column))
        row, column = row - down, column - right
    return beads[::-1]


def through(
    band: Band, costs: Mapping[Step, Floats], skip: float
) -> tuple[float, dict[Step, Costs], list[Bead]]:
    """What the cheapest way costs, what it costs through each step, and its beads.

    The cost through a step stands at the cell where the step ends, infinite where none does.
    """
    rows, columns = band.cells
    ahead, beads = cheapest(band, costs, skip)
    before = {step: band.places(rows - step[0], columns - step[1]) for step in costs}
    mirrored = {}
    for step, cost in costs.items():
        inside = before[step] >= 0
        at_start = np.full(len(rows), np.inf, np.float32)
        at_start[before[step][inside]] = cost[inside]
        mirrored[step] = at_start[::-1]
    behind = cheapest(band.reversed(), mirrored, skip)[0][::-1]
    passing = {
        step: np.where(before[step] >= 0, ahead[before[step]] + cost + behind, np.inf)
        for step, cost in costs.items()
    }
    return float(ahead[-1]), passing, beads
