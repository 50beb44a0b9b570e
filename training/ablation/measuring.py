"""Measure an encoder on what a plan asks for, by the suite's tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.bundle import Granularity
from training.ablation.plan import Measure
from training.ablation.scores import Measured
from training.errors import TrainingError
from training.evaluation.encoder import Encoder
from training.evaluation.languages import Languages
from training.evaluation.reading import PLAIN, Space, VectorCache
from training.evaluation.suite import CACHE_BYTES
from training.evaluation.task import TestSet
from training.evaluation.tasks import TASKS


@dataclass(frozen=True, slots=True)
class EvaluationSets:
    """The test sets in a folder, each read once."""

    folder: Path
    _loaded: dict[str, TestSet] = field(default_factory=dict)

    def load(self, measure: Measure) -> TestSet:
        """The texts of a measure. Raises TrainingError where its file is missing or damaged, or
        has none of the languages."""
        if measure.key not in self._loaded:
            task = TASKS[measure.task]
            test_set = task.load(self.folder, Languages.parse(measure.languages))
            if not test_set.languages:
                raise TrainingError(
                    f"the test set of {measure.task} has none of {', '.join(measure.languages)}, "
                    "or not enough of them"
                )
            self._loaded[measure.key] = test_set
        return self._loaded[measure.key]


def measure(
    encoder: Encoder, adapter: str, measures: Iterable[Measure], test_sets: EvaluationSets
) -> dict[str, Measured]:
    """Every figure of every measure, by `Measure.key`, all texts through one adapter, or through
    none where it is `none`."""
    cache = VectorCache(encoder, CACHE_BYTES)
    route = dict.fromkeys(Granularity, None if adapter == PLAIN else adapter)
    found: dict[str, Measured] = {}
    order = list(TASKS)
    # Tasks of one test set together, so that what is cached is used while it is.
    for each in sorted(measures, key=lambda measure: order.index(measure.task)):
        test_set = test_sets.load(each)
        space = Space.encode(encoder, cache, route, test_set.texts)
        by_language = {
            language: {name: round(value, 3) for name, value in figures.items()}
            for language, figures in test_set.score(space).by_language.items()
        }
        over, figures = next(iter(TASKS[each.task].all_means(by_language).items()))
        means = {name: round(value, 3) for name, value in figures.items()}
        found[each.key] = Measured(over=over, figures=means, by_language=by_language)
    return found


def distinct_texts(test_sets: Iterable[TestSet]) -> Mapping[Granularity, set[str]]:
    """What reading some test sets through one adapter encodes."""
    found: dict[Granularity, set[str]] = {}
    for test_set in test_sets:
        for granularity, texts in test_set.texts.items():
            found.setdefault(granularity, set()).update(texts)
    return found
