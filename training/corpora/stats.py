"""What a corpus table holds: counts, lengths, and what its build dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from models.bundle import TEXT_GRANULARITIES
from training.corpora.table import read_report

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_KEYS = ("language", "granularity", "source")
_PLOTTED = 40  # bars in a plot
_COLOURS = ("#0072b2", "#e69f00", "#009e73")  # told apart by colour-blind eyes as well


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one language, granularity and source; `lengths` are `QUANTILES` of their
    characters, interpolated linearly."""

    language: str
    granularity: str
    source: str
    rows: int
    lengths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """A table's cells, sorted, its number of alignment ids, and the report of its build."""

    cells: tuple[Cell, ...]
    alignment_ids: int
    report: Mapping[str, Any]

    def rows_by(self, *keys: str) -> Counter[tuple[str, ...]]:
        """Rows by the given ones of language, granularity and source."""
        counts: Counter[tuple[str, ...]] = Counter()
        for cell in self.cells:
            counts[tuple(str(getattr(cell, key)) for key in keys)] += cell.rows
        return counts

    def dropped(self) -> Counter[str]:
        """Rows that the build dropped, by reason."""
        counts: Counter[str] = Counter()
        for source in self.report["sources"].values():
            counts.update(source["dropped"])
        return counts


def measure(table: Path) -> CorpusStats:
    """Count a corpus table; memory grows by four bytes a row.

    Raises TrainingError where `table` is no corpus table.
    """
    report = read_report(table)
    lengths: dict[tuple[str, str, str], list[np.ndarray[Any, np.dtype[np.int32]]]] = {}
    ids, last_id = 0, None
    with pq.ParquetFile(table) as parquet:
        for batch in parquet.iter_batches(columns=["alignment_id", *_KEYS, "text"]):
            # Rows of an id stand together: an id begins where it differs from the row before.
            names = batch["alignment_id"]
            starts = pc.sum(pc.not_equal(names.slice(1), names.slice(0, len(names) - 1))).as_py()
            ids += (starts or 0) + (names[0].as_py() != last_id)
            last_id = names[-1].as_py()
            sizes = pc.utf8_length(batch["text"]).to_numpy()
            codes = np.zeros(len(batch), dtype=np.int64)
            values = []
            for key in _KEYS:
                encoded = batch[key].dictionary_encode()
                values.append(encoded.dictionary.to_pylist())
                codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
            order = np.argsort(codes, kind="stable")
            found, starts_at = np.unique(codes[order], return_index=True)
            for code, part in zip(found, np.split(sizes[order], starts_at[1:]), strict=True):
                places = np.unravel_index(code, [len(each) for each in values])
                language, granularity, source = (
                    str(each[place]) for each, place in zip(values, places, strict=True)
                )
                lengths.setdefault((language, granularity, source), []).append(part)
    cells = tuple(
        Cell(*key, rows=len(joined), lengths=tuple(np.quantile(joined, QUANTILES).tolist()))
        for key in sorted(lengths)
        for joined in [np.concatenate(lengths[key])]
    )
    return CorpusStats(cells, ids, report)


def as_json(stats: CorpusStats) -> dict[str, Any]:
    """Everything that was measured, and the build's report."""
    return {
        "alignment_ids": stats.alignment_ids,
        "rows": sum(cell.rows for cell in stats.cells),
        "length_quantiles": list(QUANTILES),
        "cells": [asdict(cell) for cell in stats.cells],
        "dropped": dict(stats.dropped()),
        "build": stats.report,
    }


def as_text(stats: CorpusStats, top: int = 30) -> str:
    """Three tables: languages (the `top` largest), sources, and the rows that were dropped."""
    parts = [
        f"{sum(cell.rows for cell in stats.cells):,} rows under {stats.alignment_ids:,} ids",
        _by_granularity(stats, "language", top),
        _by_granularity(stats, "source", None),
        _sources_dropped(stats),
    ]
    return "\n\n".join(parts)


def plot(stats: CorpusStats, folder: Path) -> list[Path]:
    """Draw the table as PNG files in `folder`: rows by language and by source, lengths, and what
    was dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: Sequence[tuple[str, Callable[[CorpusStats], Figure]]] = (
        ("rows_by_language", lambda each: _plot_rows(each, "language")),
        ("rows_by_source", lambda each: _plot_rows(each, "source")),
        ("lengths", _plot_lengths),
        ("dropped", _plot_dropped),
    )
    files = []
    for name, draw in drawn:
        files.append(folder / f"{name}.png")
        draw(stats).savefig(files[-1], dpi=110)
    return files


def _by_granularity(stats: CorpusStats, key: str, top: int | None) -> str:
    counts = stats.rows_by(key, "granularity")
    totals = stats.rows_by(key)
    names = [name for (name,), _ in totals.most_common(top)]
    rows = [[key, *TEXT_GRANULARITIES, "all"]]
    for name in names:
        cells = [f"{counts[name, str(each)]:,}" for each in TEXT_GRANULARITIES]
        rows.append([name, *cells, f"{totals[(name,)]:,}"])
    left_out = f"\n({len(totals) - len(names)} more)" if len(names) < len(totals) else ""
    return _aligned(rows) + left_out


def _sources_dropped(stats: CorpusStats) -> str:
    reasons = [reason for reason, count in stats.dropped().most_common() if count]
    rows = [["source", "read", "kept", *reasons]]
    for source, counts in stats.report["sources"].items():
        dropped = [f"{counts['dropped'][reason]:,}" for reason in reasons]
        rows.append([source, f"{counts['read']:,}", f"{counts['kept']:,}", *dropped])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _plot_rows(stats: CorpusStats, key: str) -> Figure:
    counts = stats.rows_by(key, "granularity")
    names = [name for (name,), _ in stats.rows_by(key).most_common(_PLOTTED)]
    figure = Figure(figsize=(9, 1.5 + 0.22 * len(names)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(names))
    for granularity, colour in zip(TEXT_GRANULARITIES, _COLOURS, strict=True):
        values = np.array([counts[name, str(granularity)] for name in names], dtype=np.float64)
        axes.barh(names, values, left=left, color=colour, label=str(granularity))
        left += values
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    axes.set_title(f"Rows by {key}")
    axes.legend()
    return figure


def _plot_lengths(stats: CorpusStats) -> Figure:
    figure = Figure(figsize=(9, 9), layout="constrained")
    languages = [name for (name,), _ in stats.rows_by("language").most_common(_PLOTTED)]
    for axes, granularity, colour in zip(
        figure.subplots(len(TEXT_GRANULARITIES), 1), TEXT_GRANULARITIES, _COLOURS, strict=True
    ):
        for place, language in enumerate(languages):
            cells = [
                cell
                for cell in stats.cells
                if cell.language == language and cell.granularity == granularity
            ]
            if cells:
                # Of the sources' quantiles the mean, weighted by rows: near enough for a plot.
                weights = [cell.rows for cell in cells]
                low, first, middle, third, high = np.average(
                    [cell.lengths for cell in cells], axis=0, weights=weights
                )
                axes.plot([place, place], [low, high], color=colour, linewidth=1)
                axes.plot([place, place], [first, third], color=colour, linewidth=5)
                axes.plot(place, middle, "o", color="black", markersize=3)
        axes.set_yscale("log")
        axes.set_xticks(range(len(languages)), languages, rotation=90)
        axes.set_ylabel("characters")
        axes.set_title(f"{granularity}: quantiles {', '.join(map(str, QUANTILES))}")
    return figure


def _plot_dropped(stats: CorpusStats) -> Figure:
    dropped = stats.dropped()
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    names, values = list(dropped), list(dropped.values())
    bars = axes.barh(names, values, color=_COLOURS[0])
    axes.bar_label(bars, [f"{value:,}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    kept = sum(source["kept"] for source in stats.report["sources"].values())
    axes.set_title(f"Rows dropped, beside {kept:,} kept")
    axes.set_xlabel("rows")
    return figure
