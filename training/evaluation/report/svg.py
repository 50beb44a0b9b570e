"""Plots as inline SVG, drawn in the page's own colours, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

ROW_PX = 22
_CELL_PX = 62
_CHARACTER_PX = 7.2
# Column heads are written upwards at this angle.
_SLOPE_DEGREES = 38
# From this strength on, text in the colour of the page reads better than its ink.
_STRONG = 0.68


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what it says, how strong its colour is, and what stands in its tooltip."""

    text: str
    # 0 to 1: the colour's strength. Negative, to −1: the same in the colour of what is worse.
    strength: float
    title: str
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One pair of bars: 0 to 100 each, and the label behind them."""

    label: str
    values: tuple[float, ...]
    remark: str
    # 1: the second is better, −1: worse, 0: neither.
    sign: int


def heat_map(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell | None]]], label: str
) -> str:
    """A table of coloured cells; None is an empty one. `label` says what it shows."""
    left = label_width(name for name, _ in rows)
    slope = math.radians(_SLOPE_DEGREES)
    head = 16 + math.sin(slope) * label_width(columns)
    width = left + _CELL_PX * len(columns) + math.cos(slope) * label_width(columns)
    height = head + ROW_PX * len(rows) + 4
    parts = [open_svg(width, height, label)]
    for number, name in enumerate(columns):
        x = left + _CELL_PX * number + _CELL_PX / 2
        parts.append(
            f'<text transform="translate({x:.0f} {head - 8:.0f}) rotate(-{_SLOPE_DEGREES})">'
            f"{escape(name)}</text>"
        )
    for number, (name, cells) in enumerate(rows):
        top = head + ROW_PX * number
        middle = top + ROW_PX / 2 + 4
        parts.append(
            f'<text x="{left - 8:.0f}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>'
        )
        for place, cell in enumerate(cells):
            if cell is not None:
                parts.append(_cell(cell, left + _CELL_PX * place, top))
    return "".join([*parts, "</svg>"])


def _cell(cell: Cell, x: float, y: float) -> str:
    strength = min(1.0, abs(cell.strength))
    colour = "worse" if cell.strength < 0 else "heat"
    classes = "on" if strength > _STRONG else "in"
    weight = ' font-weight="700"' if cell.is_best else ""
    return (
        f"<g><title>{escape(cell.title)}</title>"
        f'<rect class="{colour}" x="{x + 1:.0f}" y="{y + 1:.0f}" width="{_CELL_PX - 2}" '
        f'height="{ROW_PX - 2}" rx="2" fill-opacity="{strength:.3f}"/>'
        f'<text class="{classes}" x="{x + _CELL_PX / 2:.0f}" y="{y + ROW_PX / 2 + 4:.0f}" '
        f'text-anchor="middle"{weight}>{escape(cell.text)}</text></g>'
    )


def bars(rows: Sequence[Bar], label: str) -> str:
    """Horizontal bars, as many in a row as it has values, on one scale from 0 to 100."""
    left, scale = label_width(row.label for row in rows), 3.6
    tall = max(len(row.values) for row in rows) * 12 + 8
    width, height = left + 100 * scale + 190, tall * len(rows) + 4
    parts = [open_svg(width, height, label)]
    for number, row in enumerate(rows):
        top = tall * number
        parts.append(
            f'<text x="{left - 8:.0f}" y="{top + tall / 2 + 4:.0f}" text-anchor="end">'
            f"{escape(row.label)}</text>"
        )
        for place, value in enumerate(row.values):
            length = max(0.0, min(100.0, value)) * scale
            parts.append(
                f'<rect class="bar{place}" x="{left:.0f}" y="{top + 4 + 12 * place}" '
                f'width="{length:.1f}" height="10" rx="2"/>'
            )
        classes = {1: "good", -1: "bad", 0: "in"}[row.sign]
        parts.append(
            f'<text class="{classes}" x="{left + 100 * scale + 10:.0f}" '
            f'y="{top + tall / 2 + 4:.0f}">{escape(row.remark)}</text>'
        )
    return "".join([*parts, "</svg>"])


def open_svg(width: float, height: float, label: str) -> str:
    """The opening tag of a picture of so many pixels; `label` says what it shows."""
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">'
    )


def label_width(names: Iterable[str]) -> float:
    """Pixels that the longest of some labels takes, about."""
    return 16 + _CHARACTER_PX * max(map(len, names), default=0)
