"""Scores as one self-contained HTML page: it asks for nothing from anywhere, and runs no script."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.evaluation.report.comparison import comparison
from training.evaluation.report.svg import Cell, heat_map
from training.evaluation.scores import Scores, SystemScores, TaskScores
from training.evaluation.table import routing_gain, shown_system

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6470;
  --line: #d8dde3; --heat: #1d5fa8; --worse: #b4541a; --on: #ffffff; --good: #1a7f37;
  --bad: #b4541a; --other: #9aa4b0; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e8ec; --soft: #9aa4b0;
  --line: #333b44; --heat: #6cb0f5; --worse: #f0a36b; --on: #0d1116; --good: #57c274;
  --bad: #f0a36b; --other: #5b6470; } }
body { margin: 2rem auto; max-width: 74rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } svg { font: 12px system-ui, sans-serif; fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, th.l, td.l { text-align: left; }
details { margin: 0.6rem 0; } summary { cursor: pointer; }
.heat, .bar1 { fill: var(--heat); } .worse { fill: var(--worse); } .bar0 { fill: var(--other); }
.on { fill: var(--on); } .good { fill: var(--good); color: var(--good); }
.bad { fill: var(--bad); color: var(--bad); }
"""
# Even a page that someone tampered with in the data asks for nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_report(scores: Scores, other: Scores | None, file: Path) -> None:
    """Write the report of `scores`, and of how they differ from `other`, whole or not at all.

    Raises TrainingError where the two share no task and system.
    """
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(page(scores, other), encoding="utf-8")
    os.replace(partial, file)


def page(scores: Scores, other: Scores | None = None) -> str:
    """The whole page."""
    model = scores.model
    name = f"{model.name} {model.version}"
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="soft">{model.dimension} dimensions, read from a {model.read_from}, measured '
        f"{escape(scores.measured_at)}. All figures are in percent.</p>",
        "<h2>Ways through the adapters × tasks</h2>",
        "<p>The headline of each task; the best of each row in bold. "
        "<em>routed</em> sends each text through the adapter of its granularity. Stronger "
        "colour is better; ↓ marks figures of which less is better.</p>",
        _wide(_matrix(scores)),
        *_mixtures(scores),
        *([comparison(other, scores)] if other is not None else []),
        "<h2>Languages × tasks</h2>",
        *_languages(scores),
        "<h2>All figures</h2>",
        *(_figures(task) for task in scores.tasks.values()),
        "<h2>What is measured</h2>",
        _about(scores),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: evaluation</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _wide(content: str) -> str:
    return f'<div class="wide">{content}</div>'


def _title(task: TaskScores) -> str:
    return f"{task.title} ↓" if task.lower_is_better else task.title


def _goodness(task: TaskScores, value: float) -> float:
    """0 to 1: how far a main figure is along its scale, whichever way is better."""
    share = min(100.0, max(0.0, value)) / 100
    return 1 - share if task.lower_is_better else share


def _matrix(scores: Scores) -> str:
    systems = scores.systems
    rows: list[tuple[str, list[Cell | None]]] = []
    for task in scores.tasks.values():
        values = [task.value(s) if (s := task.systems.get(n)) else None for n in systems]
        rows.append((_title(task), _row(task, systems, values)))
    return heat_map(systems, rows, "Score of every task through every adapter")


def _row(
    task: TaskScores, names: Sequence[str], values: Sequence[float | None]
) -> list[Cell | None]:
    """A row in which the best, as shown, is marked."""
    shown = [None if value is None else f"{value:.1f}" for value in values]
    found = [text for text in shown if text is not None]
    best = (min if task.lower_is_better else max)(found, key=float)
    return [
        None
        if value is None
        else Cell(
            f"{value:.1f}",
            _goodness(task, value),
            f"{task.title}, {name}: {value:.2f} ({task.headline})",
            text == best,
        )
        for name, value, text in zip(names, values, shown, strict=True)
    ]


def _mixtures(scores: Scores) -> list[str]:
    parts = []
    for task in scores.tasks.values():
        if not task.mixed:
            continue
        adapters = list(dict.fromkeys(name.split("+")[0] for name in task.mixed))
        rows = [
            (
                f"query: {one}",
                [_mixed_cell(task, one, other, task.mixed[f"{one}+{other}"]) for other in adapters],
            )
            for one in adapters
        ]
        parts.append(f"<h2>{escape(task.title)}: which adapter for which side</h2>")
        if gain := routing_gain(task):
            parts.append(f"<p>{escape(gain)}.</p>")
        columns = [f"text: {name}" for name in adapters]
        parts.append(_wide(heat_map(columns, rows, f"{task.title} by query and text adapter")))
    return parts


def _mixed_cell(task: TaskScores, one: str, other: str, scores: SystemScores) -> Cell:
    value = task.value(scores)
    title = f"queries through {one}, texts through {other}: {value:.2f}"
    best = value == max(task.value(each) for each in task.mixed.values())
    return Cell(f"{value:.1f}", _goodness(task, value), title, best)


def _languages(scores: Scores) -> list[str]:
    shown = shown_system(scores.systems)
    parts = [f"<p>Through <em>{escape(shown)}</em>; the others below.</p>"]
    parts.append(_wide(_language_map(scores, shown)))
    parts += [
        f"<details><summary>{escape(system)}</summary>{_wide(_language_map(scores, system))}"
        "</details>"
        for system in scores.systems
        if system != shown
    ]
    return parts


def _language_map(scores: Scores, system: str) -> str:
    tasks = [task for task in scores.tasks.values() if system in task.systems]
    columns = [task.language_values(system) for task in tasks]
    languages = sorted({language for column in columns for language in column})
    rows = [
        (
            language,
            [
                Cell(
                    f"{column[language]:.1f}",
                    _goodness(task, column[language]),
                    f"{task.title}, {language}: {column[language]:.2f}",
                )
                if language in column
                else None
                for task, column in zip(tasks, columns, strict=True)
            ],
        )
        for language in languages
    ]
    return heat_map(
        [_title(task) for task in tasks], rows, f"Score of every language through {system}"
    )


def _figures(task: TaskScores) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in task.systems)
    rows = []
    for over in next(iter(task.systems.values())).means:
        for name, figure in task.figures.items():
            arrow = " ↓" if figure.lower_is_better else ""
            cells = "".join(
                f"<td>{scores.means[over][name]:.2f}</td>" for scores in task.systems.values()
            )
            rows.append(
                f'<tr><td>{escape(figure.label)}{arrow}</td><td class="l">{escape(over)}</td>'
                f"{cells}</tr>"
            )
    return (
        f"<details><summary>{escape(task.title)}</summary>{_pair_maps(task)}"
        + _wide(
            f'<table><tr><th>figure</th><th class="l">over</th>{head}</tr>{"".join(rows)}</table>'
        )
        + "</details>"
    )


def _pair_maps(task: TaskScores) -> str:
    """For a task over pairs of languages, its main figure by pair, for one system."""
    system = shown_system(task.systems)
    pairs = {
        tuple(name.split("→")): figures[task.main]
        for name, figures in task.systems[system].by_pair.items()
    }
    if not pairs:
        return ""
    languages = sorted({each for pair in pairs for each in pair})
    rows = [
        (
            f"query: {one}",
            [
                Cell(
                    f"{pairs[one, other]:.1f}",
                    _goodness(task, pairs[one, other]),
                    f"{one} → {other}: {pairs[one, other]:.2f}",
                )
                if (one, other) in pairs
                else None
                for other in languages
            ],
        )
        for one in languages
    ]
    label = f"{task.title} by pair of languages, {system}"
    return f"<p>{escape(label)}</p>" + _wide(heat_map(languages, rows, label))


def _about(scores: Scores) -> str:
    items = [
        f"<li><strong>{escape(task.title)}</strong> ({task.texts:,} texts). "
        f"{escape(task.about)}</li>"
        for task in scores.tasks.values()
    ]
    items += [
        f"<li><strong>{escape(name)}</strong> was not measured: {escape(reason)}.</li>"
        for name, reason in scores.skipped.items()
    ]
    return f"<ul>{''.join(items)}</ul>"
