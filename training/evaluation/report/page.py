"""Scores as one self-contained HTML page: it asks for nothing from anywhere, and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.evaluation.report.comparison import comparison
from training.evaluation.report.document import document, wide
from training.evaluation.report.svg import Cell, heat_map
from training.evaluation.scores import Scores, SystemScores, TaskScores
from training.evaluation.table import routing_gain, shown_system
from training.files import replace


def write_report(scores: Scores, other: Scores | None, file: Path) -> None:
    """Write the report of `scores`, and of how they differ from `other`, whole or not at all.

    Raises TrainingError where the two share no task and system.
    """
    text = page(scores, other)
    replace(file, lambda staged: staged.write_text(text, encoding="utf-8"))


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
        wide(_matrix(scores)),
        *_mixtures(scores),
        *([comparison(other, scores)] if other is not None else []),
        "<h2>Languages × tasks</h2>",
        *_languages(scores),
        "<h2>All figures</h2>",
        *(_figures(task) for task in scores.tasks.values()),
        "<h2>What is measured</h2>",
        _about(scores),
    ]
    return document(f"{name}: evaluation", parts)


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
        parts.append(wide(heat_map(columns, rows, f"{task.title} by query and text adapter")))
    return parts


def _mixed_cell(task: TaskScores, one: str, other: str, scores: SystemScores) -> Cell:
    value = task.value(scores)
    title = f"queries through {one}, texts through {other}: {value:.2f}"
    best = value == max(task.value(each) for each in task.mixed.values())
    return Cell(f"{value:.1f}", _goodness(task, value), title, best)


def _languages(scores: Scores) -> list[str]:
    shown = shown_system(scores.systems)
    parts = [f"<p>Through <em>{escape(shown)}</em>; the others below.</p>"]
    parts.append(wide(_language_map(scores, shown)))
    parts += [
        f"<details><summary>{escape(system)}</summary>{wide(_language_map(scores, system))}"
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
        + wide(
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
    return f"<p>{escape(label)}</p>" + wide(heat_map(languages, rows, label))


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
