"""The adapter × task table: every adapter, and none, on the task of every granularity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.embedder import Embedder
from training.evaluation.tasks import TASKS, Task

NO_ADAPTER = "none"
Table = dict[str, dict[str, dict[str, float]]]  # adapter → task → language → percent


def evaluate(embedder: Embedder, folder: Path, tasks: Sequence[Task] = TASKS) -> Table:
    """Score every adapter of a bundle, and the plain backbone, on every task."""
    names = [adapter.name for adapter in embedder.bundle.manifest.adapters]
    return {
        name or NO_ADAPTER: {
            task.name: dict(task.score(folder, partial(embedder.embed, adapter=name)))
            for task in tasks
        }
        for name in (None, *names)
    }


def summary(table: Table) -> dict[str, dict[str, float]]:
    """The mean over languages of every cell, in percent."""
    return {
        adapter: {task: round(float(np.mean(list(by.values()))), 2) for task, by in row.items()}
        for adapter, row in table.items()
    }


def as_markdown(table: Table, tasks: Sequence[Task] = TASKS) -> str:
    """The table of means, the best of each column in bold, then each language of each task."""
    means = summary(table)
    head = [f"{task.granularity}: {task.name}, {task.figure}" for task in tasks]
    rows = []
    for adapter, row in means.items():
        label = "no adapter" if adapter == NO_ADAPTER else f"{adapter} adapter"
        cells = []
        for task in tasks:
            best = row[task.name] == max(other[task.name] for other in means.values())
            cells.append(f"**{row[task.name]:.1f}**" if best else f"{row[task.name]:.1f}")
        rows.append([label, *cells])
    parts = [_grid(["", *head], rows)]
    for task in tasks:
        languages = sorted(next(iter(table.values()))[task.name])
        rows = [
            [adapter, *(f"{row[task.name][language]:.1f}" for language in languages)]
            for adapter, row in table.items()
        ]
        parts.append(f"{task.name}, {task.figure} by language\n\n" + _grid(["", *languages], rows))
    return "\n\n".join(parts)


def as_scores(table: Table, tasks: Sequence[Task] = TASKS) -> dict[str, Any]:
    """What a manifest keeps of a table: the means, and which figure each task reports."""
    return {
        "figures": {task.name: f"{task.figure}, percent, mean over languages" for task in tasks},
        "adapter_by_task": summary(table),
        "by_language": table,
    }


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
