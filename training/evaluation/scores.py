"""What an evaluation measured, as `scores.json` holds it; docs/evaluation.md describes the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import TrainingError
from training.files import replace

FORMAT_VERSION = 1

Percent = Annotated[float, Field(allow_inf_nan=False)]
Table = dict[str, dict[str, dict[str, float]]]  # system → task → language → percent


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FigureInfo(_Value):
    """A figure of a task: what people read, and which way is better."""

    label: str
    lower_is_better: bool


class SystemScores(_Value):
    """What one way through the adapters got in a task: every figure, in percent."""

    # Over which languages → figure → percent; the first stands for the task.
    means: Annotated[dict[str, dict[str, Percent]], Field(min_length=1)]
    by_language: dict[str, dict[str, Percent]]
    # `question language→paragraph language`; only for tasks over pairs of languages.
    by_pair: dict[str, dict[str, Percent]]


class TaskScores(_Value):
    """A task, and what every system got in it."""

    title: str
    about: str
    granularities: tuple[str, ...]
    # Distinct texts, or sentences for word alignment.
    texts: int
    # The first is the main one.
    figures: Annotated[dict[str, FigureInfo], Field(min_length=1)]
    systems: Annotated[dict[str, SystemScores], Field(min_length=1)]
    # `query adapter+text adapter`: queries through one, texts searched through the other; without
    # pairs of languages.
    mixed: dict[str, SystemScores]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        means = list(next(iter(self.systems.values())).means)
        for name, scores in [*self.systems.items(), *self.mixed.items()]:
            rows = [*scores.means.values(), *scores.by_language.values(), *scores.by_pair.values()]
            if list(scores.means) != means or any(
                row.keys() != self.figures.keys() for row in rows
            ):
                raise ValueError(
                    f"{name} lacks a mean or a figure that the task has, or has another"
                )
        return self

    @property
    def main(self) -> str:
        """The name of the main figure."""
        return next(iter(self.figures))

    @property
    def headline(self) -> str:
        """Over which languages the mean is that stands for the task."""
        return next(iter(next(iter(self.systems.values())).means))

    @property
    def lower_is_better(self) -> bool:
        """Of the main figure."""
        return self.figures[self.main].lower_is_better

    def value(self, scores: SystemScores) -> float:
        """The headline of the main figure, in percent."""
        return scores.means[self.headline][self.main]

    def language_values(self, system: str) -> dict[str, float]:
        """The main figure by language."""
        return {name: each[self.main] for name, each in self.systems[system].by_language.items()}


class ModelInfo(_Value):
    """What was measured, and where: a bundle, or a service at an address."""

    name: str
    version: str
    dimension: int
    read_from: Literal["bundle", "service"]


class Scores(_Value):
    """Everything one evaluation measured."""

    format_version: Literal[1]
    model: ModelInfo
    measured_at: str
    tasks: Annotated[dict[str, TaskScores], Field(min_length=1)]
    # Task → why it was not measured.
    skipped: dict[str, str]

    @property
    def systems(self) -> list[str]:
        """Every system of any task, in the order in which they were tried."""
        return list(dict.fromkeys(name for task in self.tasks.values() for name in task.systems))

    def adapter_by_task(self) -> dict[str, dict[str, float]]:
        """The headline of every task: system → task → percent."""
        return {
            system: {
                name: task.value(task.systems[system])
                for name, task in self.tasks.items()
                if system in task.systems
            }
            for system in self.systems
        }

    def by_language(self) -> Table:
        """The main figure of every task in every language: system → task → language → percent."""
        return {
            system: {
                name: task.language_values(system)
                for name, task in self.tasks.items()
                if system in task.systems
            }
            for system in self.systems
        }


def as_scores(scores: Scores) -> dict[str, Any]:
    """What `scores.json`, a manifest and a model card hold: everything measured, and before it two
    tables derived from it, for readers that want no more."""
    return {
        "figures": {
            name: f"{task.figures[task.main].label}, percent, {task.headline}"
            for name, task in scores.tasks.items()
        },
        "adapter_by_task": scores.adapter_by_task(),
        "by_language": scores.by_language(),
        "evaluation": scores.model_dump(mode="json"),
    }


def write_scores(scores: Scores, file: Path) -> None:
    """Write `scores.json`, whole or not at all."""
    text = json.dumps(as_scores(scores), indent=1, ensure_ascii=False) + "\n"
    replace(file, lambda staged: staged.write_text(text, encoding="utf-8"))


def read_scores(file: Path) -> Scores:
    """Read what `write_scores` wrote. Raises TrainingError, naming the field, where it is not."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file} cannot be read: {error}") from None
    if not isinstance(document, dict) or "evaluation" not in document:
        raise TrainingError(f"{file} is not what `evaluate --out` writes: it has no `evaluation`")
    try:
        return Scores.model_validate(document["evaluation"])
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise TrainingError(
            f"{file}: evaluation.{place}: {fault['msg']}; evaluate the bundle again"
        ) from None
