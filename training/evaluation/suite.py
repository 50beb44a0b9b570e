"""The suite: every chosen task, read through every chosen way through the adapters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal

from models.bundle import TEXT_GRANULARITIES
from training.errors import TrainingError
from training.evaluation.encoder import Encoder
from training.evaluation.languages import Languages
from training.evaluation.reading import Route, Space, VectorCache, systems
from training.evaluation.scores import (
    FORMAT_VERSION,
    FigureInfo,
    ModelInfo,
    Scores,
    SystemScores,
    TaskScores,
)
from training.evaluation.task import Figures, Scored, Task, TestSet
from training.evaluation.tasks import TASKS

log = logging.getLogger(__name__)

# The largest test set through one adapter, or XQuAD through several, fits several times over.
CACHE_BYTES = 512 << 20
CORE_LANGUAGES = Languages.parse(["core"])


@dataclass(frozen=True, slots=True)
class Selection:
    """What to measure: tasks and languages, and ways through the adapters (None: all)."""

    tasks: tuple[Task, ...] = tuple(TASKS.values())
    languages: Languages = CORE_LANGUAGES
    systems: tuple[str, ...] | None = None


def choose_tasks(names: Sequence[str]) -> tuple[Task, ...]:
    """Tasks by name, in the suite's order; TrainingError names one that there is not."""
    if unknown := [name for name in names if name not in TASKS]:
        raise TrainingError(f"--tasks names {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return tuple(task for name, task in TASKS.items() if name in names)


def evaluate(
    encoder: Encoder,
    folder: Path,
    selection: Selection,
    read_from: Literal["bundle", "service"],
    cache_bytes: int = CACHE_BYTES,
) -> Scores:
    """Score a model on the test sets in `folder`.

    All test sets are read before the first text is encoded. A task that has none of the languages,
    or needs what the model cannot give, is skipped with its reason. Raises TrainingError where a
    test set is missing or damaged, or nothing is left to measure.
    """
    model = encoder.model
    routes = systems(model, selection.systems)
    skipped: dict[str, str] = {}
    chosen: list[tuple[Task, TestSet]] = []
    for task in selection.tasks:
        if task.needs_tokens and not model.has_tokens:
            skipped[task.name] = "it needs the states of tokens, which only a bundle gives"
        elif not (test_set := task.load(folder, selection.languages)).languages:
            skipped[task.name] = "its test set has none of the languages, or not enough of them"
        elif not any(_can_read(route, task) for route in routes.values()):
            skipped[task.name] = "none of the adapters chosen reads such texts"
        else:
            chosen.append((task, test_set))
    if not chosen:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise TrainingError(f"nothing to measure. {reasons}")
    cache = VectorCache(encoder, cache_bytes)
    scores: dict[str, TaskScores] = {}
    for _, group in groupby(chosen, key=lambda pair: pair[0].test_set):
        scores |= _score_together(list(group), routes, encoder, cache)
    return Scores(
        format_version=FORMAT_VERSION,
        model=ModelInfo(
            name=model.name,
            version=model.version,
            dimension=model.dimension,
            read_from=read_from,
        ),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tasks={task.name: scores[task.name] for task, _ in chosen},
        skipped=skipped,
    )


def _score_together(
    group: Sequence[tuple[Task, TestSet]],
    routes: dict[str, Route],
    encoder: Encoder,
    cache: VectorCache,
) -> dict[str, TaskScores]:
    """Tasks over the same texts, one system after the other, so that the cache need not hold more
    than one system's vectors; mixtures of adapters come last."""
    # Systems that agree on a task's granularities get one score: routed is often one of the others.
    known: dict[tuple[str, tuple[str | None, ...]], SystemScores] = {}

    def score(task: Task, test_set: TestSet, route: Route) -> SystemScores:
        key = (task.name, tuple(route[each] for each in task.granularities))
        if key not in known:
            space = Space.encode(encoder, cache, route, test_set.texts)
            known[key] = _system_scores(task, test_set.score(space))
            log.info("task=%s adapters=%s", task.name, "+".join(each or "none" for each in key[1]))
        return known[key]

    by_task: dict[str, dict[str, SystemScores]] = {task.name: {} for task, _ in group}
    for system, route in routes.items():
        for task, test_set in group:
            if _can_read(route, task):
                by_task[task.name][system] = score(task, test_set, route)
    mixed = {
        task.name: {
            # Every pair of languages through every pair of adapters is more than anyone reads.
            "+".join(adapters): score(
                task, test_set, dict(zip(task.granularities, adapters, strict=True))
            ).model_copy(update={"by_pair": {}})
            for adapters in _mixtures(task, routes, encoder)
        }
        for task, test_set in group
    }
    return {
        task.name: _task_scores(task, test_set, by_task[task.name], mixed[task.name])
        for task, test_set in group
    }


def _can_read(route: Route, task: Task) -> bool:
    return all(granularity in route for granularity in task.granularities)


def _mixtures(task: Task, routes: dict[str, Route], encoder: Encoder) -> list[tuple[str, str]]:
    """Every pair of chosen adapters, for a task whose two sides are of different granularity."""
    if len(task.granularities) != 2:
        return []
    kinds = encoder.model.adapters
    names = [n for n in routes if n in kinds and kinds[n] in TEXT_GRANULARITIES]
    return [(one, other) for one in names for other in names]


def _system_scores(task: Task, scored: Scored) -> SystemScores:
    # Means of what is written, so that whoever takes them again gets the same to the last digit.
    by_language = {name: _rounded(each) for name, each in scored.by_language.items()}
    return SystemScores(
        means={over: _rounded(each) for over, each in task.all_means(by_language).items()},
        by_language=by_language,
        by_pair={name: _rounded(each) for name, each in scored.by_pair.items()},
    )


def _rounded(figures: Figures) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


def _task_scores(
    task: Task,
    test_set: TestSet,
    by_system: dict[str, SystemScores],
    mixed: dict[str, SystemScores],
) -> TaskScores:
    return TaskScores(
        title=task.title,
        about=task.about,
        granularities=tuple(str(each) for each in task.granularities),
        texts=count_texts(test_set),
        figures={
            each.name: FigureInfo(label=each.label, lower_is_better=each.lower_is_better)
            for each in task.figures
        },
        systems=by_system,
        mixed=mixed,
    )


def count_texts(test_set: TestSet) -> int:
    """How many distinct texts a test set encodes."""
    return sum(len(set(each)) for each in test_set.texts.values())
