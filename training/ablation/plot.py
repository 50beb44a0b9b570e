"""Rows on a line: every seed a dot, the mean a bar, one standard deviation to either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from training.ablation.results import Spread
from training.evaluation.report.svg import ROW_PX, label_width, open_svg

_SCALE_PX = 420
_FOOT_PX = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a plot, its values by seed; none where nothing was measured."""

    label: str
    values: Sequence[float]
    spread: Spread | None


def dots(rows: Sequence[Row], label: str) -> str:
    """A plot on a scale from the least of what is shown to the greatest; its ends are written
    below. `label` says what it shows."""
    low, high = _range(rows)
    left = label_width(row.label for row in rows)
    height = ROW_PX * len(rows) + _FOOT_PX
    parts = [open_svg(left + _SCALE_PX + 60, height, label)]

    def x(value: float) -> float:
        return left + _SCALE_PX * (value - low) / (high - low)

    for number, row in enumerate(rows):
        middle = ROW_PX * number + ROW_PX / 2
        parts.append(
            f'<text x="{left - 8:.0f}" y="{middle + 4:.0f}" text-anchor="end">'
            f"{escape(row.label)}</text>"
            f'<rect class="rule" x="{left:.0f}" y="{middle:.1f}" width="{_SCALE_PX}" height="1"/>'
        )
        if row.spread is None:
            continue
        mean, deviation = row.spread.mean, row.spread.deviation or 0.0
        reach = x(mean + deviation) - x(mean - deviation)
        parts.append(
            f"<g><title>{escape(row.label)}: {mean:.2f} ± {deviation:.2f}, "
            f"{row.spread.count} measured</title>"
            f'<rect class="bar0" x="{x(mean - deviation):.1f}" y="{middle - 3:.1f}" '
            f'width="{max(1.0, reach):.1f}" height="6"/>'
            f'<rect class="heat" x="{x(mean) - 1:.1f}" y="{middle - 8:.1f}" width="2" height="16"/>'
        )
        parts += [
            f'<circle class="dot" cx="{x(value):.1f}" cy="{middle:.1f}" r="3"/>'
            for value in row.values
        ]
        parts.append("</g>")
    for value, anchor in ((low, "start"), (high, "end")):
        parts.append(
            f'<text x="{x(value):.0f}" y="{height - 4:.0f}" text-anchor="{anchor}">{value:.1f}'
            "</text>"
        )
    return "".join([*parts, "</svg>"])


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """What holds every dot and every deviation; never empty."""
    ends = [value for row in rows for value in row.values]
    for row in rows:
        if row.spread is not None:
            reach = row.spread.deviation or 0.0
            ends += [row.spread.mean - reach, row.spread.mean + reach]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
