"""What was measured, as a table of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol


class Built(Protocol):
    """What the table tells of a side besides its times."""

    @property
    def name(self) -> str: ...
    @property
    def build_s(self) -> float: ...
    @property
    def bytes(self) -> int: ...


Times = Mapping[tuple[str, float, int], Sequence[float]]


def table(
    sides: Sequence[Built], times: Times, recalls: Sequence[float], batches: Sequence[int]
) -> str:
    """Queries a second by recall and batch, then each side's ratio to the first of `sides`."""
    columns = [(recall, batch) for recall in recalls for batch in batches]
    heads = [f"{recall}, batch {batch}" for recall, batch in columns]
    lines = [
        "Queries a second, median of the rounds:",
        "",
        f"| | build, s | memory, MB | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (len(columns) + 2)}",
    ]
    for side in sides:
        cells = [_rate(times.get((side.name, *column))) for column in columns]
        size = f"{side.build_s:.1f} | {side.bytes / 1e6:.0f}"
        lines.append(f"| {side.name} | {size} | {' | '.join(cells)} |")
    first = sides[0].name
    lines += [
        "",
        f"Time of {first} over that of each, median (least to most) of the rounds; "
        "below 1 ours is faster:",
        "",
        f"| | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for side in sides[1:]:
        cells = [
            _ratio(times.get((first, *column)), times.get((side.name, *column)))
            for column in columns
        ]
        lines.append(f"| {side.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(seconds: Sequence[float] | None) -> str:
    return f"{1 / statistics.median(seconds):,.0f}" if seconds else "not reached"


def _ratio(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> str:
    if not ours or not theirs:
        return "–"
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
