"""Measure an encoder on what a plan asks for, by the suite's tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.ablation.plan import Measure, Noise
from training.ablation.scores import Measured
from training.augmentation.casing import change_casing
from training.augmentation.punctuation import change_punctuation
from training.augmentation.typos import typos
from training.augmentation.word_order import shuffle_words
from training.errors import TrainingError
from training.evaluation.encoder import Encoder, Model
from training.evaluation.languages import Languages
from training.evaluation.reading import PLAIN, Space, VectorCache
from training.evaluation.similarity import Vectors
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


@dataclass(frozen=True, slots=True)
class Noisy:
    """An encoder that reads every text with noise on it, the same noise whenever it reads it."""

    encoder: Encoder
    noise: Noise
    rate: float

    @property
    def model(self) -> Model:
        """The encoder's."""
        return self.encoder.model

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """As the encoder's own, of the changed texts."""
        return self.encoder.embed([self.changed(text) for text in texts], adapter)

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """Refused: gold links count the words of texts as they are."""
        raise ValueError("words have no noise")

    def changed(self, text: str) -> str:
        """A text as it is read: a function of the text alone."""
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        return _CHANGES[self.noise](text, self.rate, np.random.default_rng(seed))


_CHANGES: Mapping[Noise, Callable[[str, float, np.random.Generator], str]] = {
    Noise.WORD_ORDER: shuffle_words,
    Noise.CASING: change_casing,
    Noise.PUNCTUATION: change_punctuation,
    Noise.TYPOS: typos,
}


def measure(
    encoder: Encoder, adapter: str, measures: Iterable[Measure], test_sets: EvaluationSets
) -> dict[str, Measured]:
    """Every figure of every measure, by `Measure.key`, all texts through one adapter, or through
    none where it is `none`."""
    route = dict.fromkeys(Granularity, None if adapter == PLAIN else adapter)
    found: dict[str, Measured] = {}
    for (noise, rate), together in _by_noise(measures).items():
        reader = encoder if noise is None else Noisy(encoder, noise, rate)
        cache = VectorCache(reader, CACHE_BYTES)
        for each in together:
            test_set = test_sets.load(each)
            space = Space.encode(reader, cache, route, test_set.texts)
            by_language = {
                language: {name: round(value, 3) for name, value in figures.items()}
                for language, figures in test_set.score(space).by_language.items()
            }
            over, figures = next(iter(TASKS[each.task].all_means(by_language).items()))
            means = {name: round(value, 3) for name, value in figures.items()}
            found[each.key] = Measured(over=over, figures=means, by_language=by_language)
    return found


def count_texts(measures: Iterable[Measure], test_sets: EvaluationSets) -> dict[Granularity, int]:
    """How many distinct texts measuring through one adapter reads, by granularity."""
    counts: dict[Granularity, int] = {}
    for together in _by_noise(measures).values():
        distinct: dict[Granularity, set[str]] = {}
        for each in together:
            for granularity, texts in test_sets.load(each).texts.items():
                distinct.setdefault(granularity, set()).update(texts)
        for granularity, found in distinct.items():
            counts[granularity] = counts.get(granularity, 0) + len(found)
    return counts


def _by_noise(measures: Iterable[Measure]) -> dict[tuple[Noise | None, float], list[Measure]]:
    """Measures that read texts alike, those of one test set together, so that what is cached is
    used while it is."""
    order = list(TASKS)
    found: dict[tuple[Noise | None, float], list[Measure]] = {}
    for each in sorted(measures, key=lambda measure: order.index(measure.task)):
        key = (each.noise, 0.0 if each.noise is None else each.rate)
        found.setdefault(key, []).append(each)
    return found
