"""How the scores of a run lie: a histogram, as numbers and as a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from service.alignment.scoring import Floats

_BINS = 40
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 260, 60, 40

_REASONS = {
    "lines": "lines",
    "blank": "blank",
    "not_text": "no text (see the errors file)",
    "without_letters": "without a letter or digit",
    "repeated": "repeated",
    "repeated_letters": "repeated in letters and digits",
    "kept": "kept",
}


@dataclass(frozen=True, slots=True)
class Histogram:
    """Pairs by score, before the threshold."""

    edges: tuple[float, ...]  # (bins + 1,), rising; empty where there are no pairs
    counts: tuple[int, ...]  # (bins,)
    threshold: float | None

    @classmethod
    def of(cls, scores: Floats, threshold: float | None) -> Histogram:
        """Bins of equal width between the lowest and the highest score."""
        if not len(scores):
            return cls((), (), threshold)
        # A few scores far out would leave the rest one bar.
        low, high = np.quantile(scores, [0.001, 0.999])
        counts, edges = np.histogram(
            np.clip(scores, low, high), _BINS, (float(low), float(max(high, low + 1e-6)))
        )
        return cls(tuple(edges.tolist()), tuple(counts.tolist()), threshold)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def page(title: str, score: str, values: Mapping[str, Any], histogram: Histogram) -> str:
    """A page of HTML with nothing loaded from elsewhere."""
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td>{values['source'][key]:,}</td>"
        f"<td>{values['target'][key]:,}</td></tr>"
        for key, what in _REASONS.items()
    )
    threshold = "none" if histogram.threshold is None else f"{histogram.threshold:.6g}"
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>Mined: {escape(title)}</title><style>"
        "body{font:16px system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em}"
        "td,th{padding:.2em 1em .2em 0;text-align:right}td:first-child{text-align:left}"
        "svg{max-width:100%}rect.left{fill:#3b6ea5}rect.out{fill:#c5ccd3}"
        "text{font:12px system-ui,sans-serif;fill:#333}</style>"
        f"<h1>{escape(title)}</h1>"
        f"<p>{values['pairs']:,} pairs kept, {values['below_threshold']:,} below the threshold "
        f"({threshold}) of {escape(score)}.</p>{_plot(histogram, score)}"
        f"<table><tr><th></th><th>source</th><th>target</th></tr>{rows}</table></html>\n"
    )


def _plot(histogram: Histogram, score: str) -> str:
    if not histogram.counts:
        return "<p>No pairs.</p>"
    edges, counts = histogram.edges, histogram.counts
    width, height = _WIDTH - _LEFT, _HEIGHT - _BOTTOM
    low, high = edges[0], edges[-1]

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * width

    bars = []
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        tall = count / max(counts) * (height - 20)
        kept = histogram.threshold is None or end > histogram.threshold
        bars.append(
            f"<rect class='{'left' if kept else 'out'}' x='{x(start):.1f}' "
            f"y='{height - tall:.1f}' width='{max(1.0, x(end) - x(start) - 1):.1f}' "
            f"height='{tall:.1f}'><title>{start:.4f} to {end:.4f}: {count:,}</title></rect>"
        )
    ticks = [low + (high - low) * share / 5 for share in range(6)]
    labels = "".join(
        f"<text x='{x(tick):.1f}' y='{height + 16}' text-anchor='middle'>{tick:.3g}</text>"
        for tick in ticks
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH + 20} {_HEIGHT}' role='img' "
        f"aria-label='pairs by {escape(score)}'>{''.join(bars)}"
        f"<line x1='{_LEFT}' x2='{_WIDTH}' y1='{height}' y2='{height}' stroke='#333'/>{labels}"
        f"<text x='{_LEFT - 6}' y='24' text-anchor='end'>{max(counts):,}</text>"
        f"<text x='{_LEFT - 6}' y='{height}' text-anchor='end'>0</text>"
        f"<text x='{_LEFT + width / 2:.0f}' y='{height + 34}' text-anchor='middle'>"
        f"{escape(score)}</text></svg>"
    )
