"""Metrics of a stage: JSON lines that survive a cut, and curves redrawn while it trains."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TextIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.files import replace

Metrics = Mapping[str, float]

PLOT_EVERY_S = 60.0
LINES = "metrics.jsonl"
PLOT = "metrics.svg"
# A curve of more points is drawn through the means of this many stretches.
_MAX_POINTS = 1000
_SMOOTHED_OVER = 0.05


class MetricsLog:
    """The metrics of one stage, in order of steps; use as a context manager."""

    def __init__(self, folder: Path, history: list[Metrics], lines: TextIO) -> None:
        self._folder, self._history, self._lines = folder, history, lines
        self._drawn_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path, first_step: int) -> Self:
        """Open the metrics for appending, without the lines that steps to be repeated left there,
        and without the half line that a cut may have left."""
        file = folder / LINES
        kept = [line for line in read_metrics(file) if line["step"] < first_step]
        replace(file, lambda path: path.write_text("".join(map(_as_line, kept)), encoding="utf-8"))
        return cls(folder, kept, file.open("a", encoding="utf-8"))

    def write(self, metrics: Metrics) -> None:
        """Append one line, on disk when this returns; `step` is among `metrics`."""
        self._history.append(metrics)
        self._lines.write(_as_line(metrics))
        self._lines.flush()
        if time.monotonic() - self._drawn_at > PLOT_EVERY_S:
            self.draw()

    def draw(self) -> None:
        """Redraw the curves."""
        if self._history:
            figure = plot(self._history, self._folder.name)
            replace(self._folder / PLOT, lambda path: figure.savefig(path, format="svg"))
        self._drawn_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.draw()


def read_metrics(file: Path) -> list[Metrics]:
    """The whole lines of a metrics file up to the first damaged one; none where it is not there."""
    found: list[Metrics] = []
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                metrics = json.loads(line)
            except ValueError:
                break
            if not isinstance(metrics, dict) or "step" not in metrics:
                break
            found.append(metrics)
    return found


def plot(history: Sequence[Metrics], title: str) -> Figure:
    """Curves over steps: losses, held-out ones among them, and below them every other held-out
    metric. Names of losses end in `loss`, those of held-out metrics begin with `validation_`; what
    follows a point says of which part a metric is."""
    names = sorted({name for line in history for name in line})
    losses = [name for name in names if name.split(".")[0].endswith("loss")]
    scores = [name for name in names if name.startswith("validation_") and name not in losses]
    panels = [names for names in (losses, scores) if names]
    figure = Figure(figsize=(9, 4 * len(panels)), layout="constrained")
    for axes, curves in zip(
        figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        for place, name in enumerate(curves):
            _curve(axes, history, name, f"C{place}")
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right")  # the best place takes long to find
    figure.suptitle(title)
    axes.set_xlabel("step")
    return figure


def _curve(axes: Axes, history: Sequence[Metrics], name: str, colour: str) -> None:
    points = np.array([(line["step"], line[name]) for line in history if name in line])
    if len(points) > _MAX_POINTS:
        points = np.array([part.mean(0) for part in np.array_split(points, _MAX_POINTS)])
    steps, values = points.T
    if name.startswith("validation_"):
        axes.plot(steps, values, marker=".", color=colour, label=name)
        return
    axes.plot(steps, values, color=colour, alpha=0.3)
    axes.plot(steps, _smooth(values), color=colour, label=name)


def _smooth(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The mean of the values around each, over a twentieth of the curve."""
    reach = int(len(values) * _SMOOTHED_OVER / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    smoothed: np.ndarray[tuple[int], np.dtype[np.float64]] = (sums[high] - sums[low]) / (high - low)
    return smoothed


def _as_line(metrics: Metrics) -> str:
    return json.dumps(metrics) + "\n"
