"""The reliability of a calibration as one page: plots and a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.calibration.command import Measured
from training.evaluation.report.document import document, wide
from training.evaluation.report.svg import open_svg
from training.files import replace

_SIDE, _ROOM = 200.0, 34.0


def write_report(file: Path, title: str, measured: Sequence[Measured]) -> None:
    """Write the page, in place of what stood there."""
    replace(file, lambda staged: staged.write_text(page(title, measured), encoding="utf-8"))


def page(title: str, measured: Sequence[Measured]) -> str:
    """A reliability plot for each score of each granularity, and all errors by language pair."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>Each dot is a bin of candidates that were not fitted on: across, the mean probability "
        "that they were given; up, the share of them that are translations; the larger, the more. "
        "On the line they agree.</p>",
    ]
    for granularity in dict.fromkeys(each.granularity for each in measured):
        own = [each for each in measured if each.granularity == granularity]
        parts.append(f"<h2>{granularity}</h2>")
        parts.append(wide("".join(map(_plot, own))))
        parts.append("".join(f"<p class='soft'>{escape(each.line)}</p>" for each in own))
        parts.append(wide(_table(own)))
    return document(title, parts)


def _plot(measured: Measured) -> str:
    points = measured.choice.predictions.reliability()
    most = max(count for *_, count in points)
    label = f"{measured.granularity} {measured.score}"
    far = _ROOM + _SIDE
    dots = "".join(
        f"<circle class='heat' cx='{_ROOM + x * _SIDE:.1f}' cy='{far - y * _SIDE:.1f}' "
        f"r='{2 + 5 * (count / most) ** 0.5:.1f}'>"
        f"<title>{x:.3f} predicted, {y:.3f} found, {count:,} candidates</title></circle>"
        for x, y, count in points
    )
    ticks = "".join(
        f"<text x='{_ROOM + share * _SIDE:.0f}' y='{far + 14:.0f}' text-anchor='middle'>{share:g}"
        f"</text><text x='{_ROOM - 5:.0f}' y='{far - share * _SIDE + 4:.0f}' text-anchor='end'>"
        f"{share:g}</text>"
        for share in (0.0, 0.5, 1.0)
    )
    return (
        open_svg(far + 16, far + 24, f"reliability of {label}")
        + f"<text x='{_ROOM}' y='20'>{escape(measured.score)}</text>"
        f"<rect class='dot' x='{_ROOM}' y='{_ROOM}' width='{_SIDE}' height='{_SIDE}'/>"
        f"<path class='dot' d='M{_ROOM} {far}L{far} {_ROOM}' stroke-dasharray='3 3'/>"
        f"{ticks}{dots}</svg>"
    )


def _table(measured: Sequence[Measured]) -> str:
    heads = "".join(f"<th colspan='2'>{escape(each.score)}</th>" for each in measured)
    below = "<th>fitted</th><th>left out</th>" * len(measured)
    rows = []
    for language, (_, right) in measured[0].choice.predictions.by_language.items():
        cells = "".join(
            f"<td>{_number(predictions.errors.get(language))}</td>"
            for each in measured
            for predictions in (each.choice.predictions, each.unseen_pair)
        )
        rows.append(f"<tr><td>en–{escape(language)} ({len(right):,})</td>{cells}</tr>")
    return (
        f"<table><tr><th>calibration error (candidates)</th>{heads}</tr>"
        f"<tr><th></th>{below}</tr>{''.join(rows)}</table>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
