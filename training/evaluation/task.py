"""What a task is: a test set, read once, and figures that any encoder gets on it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from models.bundle import Granularity
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.similarity import Vectors

Figures = Mapping[str, float]  # name of the figure → percent


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a task reports, 0 to 100."""

    name: str
    label: str
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over named languages, taken only where all of them were scored."""

    name: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What one way through the adapters gets on a test set."""

    by_language: Mapping[str, Figures]
    # `question language→paragraph language`, for tasks over pairs of languages.
    by_pair: Mapping[str, Figures] = field(default_factory=dict)


class Reader(Protocol):
    """Encodes the texts of a test set, each through the adapter that a system gives it."""

    def vectors(self, granularity: Granularity, texts: Sequence[str]) -> Vectors:
        """Unit rows, one for each text: (n, dim)."""

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Vectors]:
        """For each sentence, given as words: the mean of each word's sub-word states, (n, dim)."""


class TestSet(Protocol):
    """The texts of a task and its gold answers, in the languages that were chosen."""

    @property
    def languages(self) -> Sequence[str]:
        """What `score` answers for; empty where the set has none of the languages chosen."""

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        """Every text that `score` will ask for, at the granularity it will ask for; sentences that
        it reads as words stand under `word`, with a space between any two."""

    def score(self, reader: Reader) -> Scored:
        """Every figure of the task, by language."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its test set, its figures, and the granularities of the texts on its sides."""

    name: str
    title: str
    # Tasks of one test set share texts; they are run together, so that each is encoded once.
    test_set: str
    # What is measured and where the data come from: one paragraph, shown in the report.
    about: str
    # Of the texts, query side first; the first adapter expected to win is the first one's.
    granularities: tuple[Granularity, ...]
    # The first is the main one.
    figures: tuple[Figure, ...]
    load: Callable[[Path, Languages], TestSet]
    # The first of these that is complete stands for the task; else the mean over all languages.
    means: tuple[Mean, ...] = ()
    needs_tokens: bool = False

    @property
    def main(self) -> Figure:
        """The figure that stands for the task."""
        return self.figures[0]

    def complete_means(self, languages: Container[str]) -> list[Mean]:
        """The named means whose languages were all scored; the first stands for the task."""
        return [mean for mean in self.means if all(each in languages for each in mean.languages)]

    def all_means(self, by_language: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
        """Every figure's mean over each named group that is complete, then over all languages; the
        first group stands for the task."""
        groups = {mean.name: mean.languages for mean in self.complete_means(by_language)}
        groups.setdefault(f"mean of {len(by_language)}", tuple(by_language))
        return {
            name: {
                figure.name: _mean(by_language[language][figure.name] for language in group)
                for figure in self.figures
            }
            for name, group in groups.items()
        }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def test_set_file(folder: Path, name: str) -> Path:
    """The file of a test set; TrainingError, naming it, where the folder lacks it."""
    file = folder / name
    if not file.is_file():
        raise TrainingError(
            f"{folder} has no {name}; put it there, or leave its task out by --tasks"
        )
    return file
