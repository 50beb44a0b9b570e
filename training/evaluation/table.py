"""Scores as Markdown: tasks × ways through the adapters, then languages × tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from training.evaluation.reading import PLAIN, ROUTED
from training.evaluation.scores import Scores, Table, TaskScores
from training.evaluation.tasks import TASKS


def as_markdown(table: Table) -> str:
    """The headline of every task by system, the best of each row in bold, then every language of
    every task for one system: `routed` where it was measured, else the last.

    `table` is what `Scores.by_language` answers and a manifest keeps: system → task → language →
    percent. A task that the suite does not know is averaged over its languages, and higher is
    better.
    """
    return f"{_by_system(table)}\n\n{_by_language(table)}"


def further_figures(scores: Scores) -> str:
    """Every figure of every task over every group of languages, but the headlines; empty where
    there is no other."""
    rows = [
        [task.title, figure.label, over, *_cells(task, scores.systems, over, name)]
        for task in scores.tasks.values()
        for over in next(iter(task.systems.values())).means
        for name, figure in task.figures.items()
        if (over, name) != (task.headline, task.main)
    ]
    return grid(["task", "figure", "over", *scores.systems], rows) if rows else ""


def routing_gain(task: TaskScores) -> str | None:
    """For a task whose two sides are of different granularity: what routing each side to its own
    adapter gives over the best single adapter for both. None where one of them is not measured."""
    singles = {
        name.split("+")[0]: task.value(scores)
        for name, scores in task.mixed.items()
        if len(set(name.split("+"))) == 1
    }
    if ROUTED not in task.systems or not singles:
        return None
    routed, best = task.value(task.systems[ROUTED]), max(singles, key=lambda name: singles[name])
    return (
        f"{task.title}, {task.figures[task.main].label}: {routed:.1f} with each side through its "
        f"own adapter, {singles[best]:.1f} with the best single one ({best}): "
        f"{routed - singles[best]:+.1f}"
    )


def routing_gains(scores: Scores) -> list[str]:
    """`routing_gain` of every task that has one."""
    return [line for task in scores.tasks.values() if (line := routing_gain(task)) is not None]


def shown_system(systems: Iterable[str]) -> str:
    """Of which system languages are shown: `routed` where it was measured, else the last."""
    *_, last = names = list(systems)
    return ROUTED if ROUTED in names else last


def _by_system(table: Table) -> str:
    systems = list(table)
    tasks = list(dict.fromkeys(task for row in table.values() for task in row))
    rows = []
    for task in tasks:
        label, lower = _label(task)
        values = {s: _headline(task, table[s][task]) for s in systems if task in table[s]}
        # What reads alike is as good: the best is told on what is shown.
        shown = {system: f"{value:.1f}" for system, (_, value) in values.items()}
        best = (min if lower else max)(shown.values(), key=float)
        cells = [f"**{v}**" if (v := shown.get(s, "")) == best else v for s in systems]
        over = next(iter(values.values()))[0]
        rows.append([f"{label}, {over}", *cells])
    return grid(["", *(_column(system) for system in systems)], rows)


def _by_language(table: Table) -> str:
    system = shown_system(table)
    row = table[system]
    languages = sorted({language for by in row.values() for language in by})
    rows = [
        [language, *(f"{by[language]:.1f}" if language in by else "" for by in row.values())]
        for language in languages
    ]
    labels = [_label(task)[0] for task in row]
    return f"By language, {_column(system)}\n\n" + grid(["", *labels], rows)


def _label(name: str) -> tuple[str, bool]:
    """Title and main figure of a task, and whether lower is better."""
    task = TASKS.get(name)
    if task is None:
        return name, False
    arrow = " ↓" if task.main.lower_is_better else ""
    return f"{task.title}, {task.main.label}{arrow}", task.main.lower_is_better


def _headline(name: str, by_language: Mapping[str, float]) -> tuple[str, float]:
    task = TASKS.get(name)
    if task is not None:
        for mean in task.complete_means(by_language):
            return mean.name, _mean([by_language[each] for each in mean.languages])
    return f"mean of {len(by_language)}", _mean(list(by_language.values()))


def _mean(values: Sequence[float]) -> float:
    # As the suite rounds its own means, so that both read alike.
    return round(float(np.mean(values)), 3)


def _column(system: str) -> str:
    return {PLAIN: "no adapter", ROUTED: "routed"}.get(system, f"{system} adapter")


def _cells(task: TaskScores, systems: Sequence[str], over: str, figure: str) -> list[str]:
    return [
        f"{task.systems[system].means[over][figure]:.1f}" if system in task.systems else ""
        for system in systems
    ]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [_line(head), "|---" * len(head) + "|"]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
