"""Two evaluations side by side: headlines, and the difference in every language."""

from __future__ import annotations

from html import escape

from training.errors import TrainingError
from training.evaluation.report.svg import Bar, Cell, bars, heat_map
from training.evaluation.scores import Scores, TaskScores
from training.evaluation.table import shown_system

# A difference of this many points has the full colour.
_FULL_COLOUR_POINTS = 20.0


def comparison(before: Scores, after: Scores) -> str:
    """A section of the report. Only what both measured, over the same languages, is compared.

    Raises TrainingError where that is nothing.
    """
    systems = [name for name in after.systems if name in before.systems]
    shared = {
        name: (before.tasks[name], task)
        for name, task in after.tasks.items()
        if name in before.tasks and task.headline == before.tasks[name].headline
    }
    names = tuple(f"{each.model.name} {each.model.version}" for each in (before, after))
    both = [
        (system, [pair for pair in shared.values() if all(system in t.systems for t in pair)])
        for system in systems
    ]
    both = [(system, pairs) for system, pairs in both if pairs]
    if not both:
        raise TrainingError(
            f"{names[0]} and {names[1]} share no task that both measured over the same languages "
            "through an adapter of one name; evaluate both alike"
        )
    shown = shown_system(system for system, _ in both)
    parts = [
        f"<h2>{escape(names[1])} against {escape(names[0])}</h2>",
        f"<p>Upper bars: {escape(names[0])}. Lower bars: {escape(names[1])}. Behind them the "
        f"difference in points, ▲ better, ▼ worse. Here through <em>{escape(shown)}</em>.</p>",
    ]
    for system, pairs in sorted(both, key=lambda each: each[0] != shown):
        section = _bars(pairs, system, names) + _map(pairs, system)
        parts.append(
            section
            if system == shown
            else f"<details><summary>{escape(system)}</summary>{section}</details>"
        )
    if left_out := [task.title for name, task in after.tasks.items() if name not in shared]:
        parts.append(
            f"<p>Not compared, since not measured alike: {escape(', '.join(left_out))}.</p>"
        )
    return "\n".join(parts)


def _gain(task: TaskScores, before: float, after: float) -> float:
    """Points by which the second is better."""
    return before - after if task.lower_is_better else after - before


def _bars(pairs: list[tuple[TaskScores, TaskScores]], system: str, names: tuple[str, ...]) -> str:
    rows = []
    for one, other in pairs:
        values = one.value(one.systems[system]), other.value(other.systems[system])
        gain = round(_gain(other, *values), 1)
        sign = (gain > 0) - (gain < 0)
        difference = f"{values[1] - values[0]:+.1f}{('', ' ▲', ' ▼')[sign]}"
        remark = f"{values[0]:.1f} → {values[1]:.1f}  ({difference})"
        rows.append(Bar(other.title, values, remark, sign))
    return f'<div class="wide">{bars(rows, " and ".join(names))}</div>'


def _map(pairs: list[tuple[TaskScores, TaskScores]], system: str) -> str:
    columns = []
    for one, other in pairs:
        old, new = one.language_values(system), other.language_values(system)
        columns.append({name: (old[name], new[name]) for name in new if name in old})
    languages = sorted({name for column in columns for name in column})
    rows: list[tuple[str, list[Cell | None]]] = [
        (
            language,
            [
                _cell(pair[1], column.get(language))
                for pair, column in zip(pairs, columns, strict=True)
            ],
        )
        for language in languages
    ]
    titles = [f"{t.title} ↓" if t.lower_is_better else t.title for _, t in pairs]
    label = f"Difference in points by language, {system}"
    return f'<p>{escape(label)}</p><div class="wide">{heat_map(titles, rows, label)}</div>'


def _cell(task: TaskScores, values: tuple[float, float] | None) -> Cell | None:
    if values is None:
        return None
    before, after = values
    strength = max(-1.0, min(1.0, _gain(task, before, after) / _FULL_COLOUR_POINTS))
    return Cell(f"{after - before:+.1f}", strength, f"{before:.2f} → {after:.2f}")
