"""Draw batches of translation pairs from a tokenised corpus, vectorised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from training.errors import TrainingError
from training.student.tokens import IntVector, TokenizedCorpus

FloatVector = np.ndarray[tuple[int], np.dtype[np.float64]]

# Draws per wanted pair, since twins are struck out; more of them only where the first did not do.
_SURPLUS = (1.6, 20.0)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Rows of the corpus, int64 (pairs,) each. `english` is an English row of the pair's unit, or
    -1 where the unit has none; it is `target` itself where that is English."""

    source: IntVector
    target: IntVector
    english: IntVector


@dataclass(frozen=True)
class Sampling:
    """How rows are weighted: a language by (its rows) ** `language_exponent` over its rows, a
    source by its weight (1 where it has none), a granularity likewise. A pair's other side is
    English with probability `english_share` where its unit has English."""

    language_exponent: float = 0.5
    source_weights: Mapping[str, float] = field(default_factory=dict)
    granularity_weights: Mapping[str, float] = field(default_factory=dict)
    language_weights: Mapping[str, float] = field(default_factory=dict)
    english_share: float = 0.7
    seed: int = 1


class UnitSampler:
    """Batches that are a function of the seed and the step alone."""

    def __init__(
        self,
        corpus: TokenizedCorpus,
        sampling: Sampling,
        units: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
    ) -> None:
        """Draw from the units that the mask `units` names, or from all.

        Raises TrainingError where none of them holds two languages or every weight is zero.
        """
        self._corpus = corpus
        self._sampling = sampling
        language = np.asarray(corpus.language)
        unit = np.asarray(corpus.unit)
        starts = corpus.units[:-1]
        mixed = np.minimum.reduceat(language, starts) != np.maximum.reduceat(language, starts)
        if units is not None:
            mixed &= units
        eligible = np.flatnonzero(mixed[unit] & (language != corpus.english))
        if not len(eligible):
            raise TrainingError("no text of the corpus is there in two wanted languages")
        weights = self._weights(eligible)
        self._rows = eligible
        self._cumulative = np.cumsum(weights)
        if not self._cumulative[-1] > 0:
            raise TrainingError("every source or granularity has weight 0: nothing can be drawn")
        # English rows lead their unit: how many there are.
        is_english = (language == corpus.english).astype(np.int64)
        self._english = np.add.reduceat(is_english, starts)

    def _weights(self, rows: IntVector) -> FloatVector:
        corpus, sampling = self._corpus, self._sampling
        by_source = np.array([sampling.source_weights.get(name, 1.0) for name in corpus.sources])
        by_grain = np.array(
            [sampling.granularity_weights.get(name, 1.0) for name in corpus.granularities]
        )
        weights: FloatVector = by_source[corpus.source[rows]] * by_grain[corpus.granularity[rows]]
        language = np.asarray(corpus.language)[rows]
        mass = np.bincount(language, weights, minlength=len(corpus.languages))
        scale = np.where(mass > 0, np.maximum(mass, 1e-9) ** (sampling.language_exponent - 1), 0)
        scale *= [sampling.language_weights.get(name, 1.0) for name in corpus.languages]
        return weights * scale[language]

    def shares(self) -> dict[str, float]:
        """The share of every language among the drawn rows."""
        weights = np.diff(self._cumulative, prepend=0.0)
        language = np.asarray(self._corpus.language)[self._rows]
        mass = np.bincount(language, weights, minlength=len(self._corpus.languages))
        return dict(zip(self._corpus.languages, (mass / mass.sum()).tolist(), strict=True))

    def batch(self, step: int, size: int) -> PairBatch:
        """`size` pairs; no unit and no text stands in it twice, since a twin among the in-batch
        negatives would be a false one.

        Raises TrainingError where the corpus has too few distinct texts for such a batch.
        """
        for attempt, surplus in enumerate(_SURPLUS):
            seed = [self._sampling.seed, step] + [attempt] * (attempt > 0)
            drawn = self._draw(np.random.default_rng(seed), int(size * surplus) + 16)
            if len(drawn.source) >= size:
                return PairBatch(drawn.source[:size], drawn.target[:size], drawn.english[:size])
        raise TrainingError(
            f"a batch of {size} pairs needs more distinct texts than the corpus holds: "
            f"use a batch of at most {len(drawn.source)} pairs"
        )

    def _draw(self, rng: np.random.Generator, count: int) -> PairBatch:
        """What is left of `count` draws when no unit and no text may stand twice."""
        corpus = self._corpus
        place = np.searchsorted(self._cumulative, rng.random(count) * self._cumulative[-1])
        source = self._rows[np.minimum(place, len(self._rows) - 1)]
        unit = corpus.unit[source]
        first, end, english = corpus.units[unit], corpus.units[unit + 1], self._english[unit]
        lead = np.where(english > 0, first + _below(rng, np.maximum(english, 1)), -1)
        target = first + _below(rng, end - first)
        for _ in range(8):
            same = corpus.language[target] == corpus.language[source]
            target = np.where(same, first + _below(rng, end - first), target)
        to_english = (english > 0) & (rng.random(count) < self._sampling.english_share)
        target = np.where(to_english, lead, target)
        lead = np.where(corpus.language[target] == corpus.english, target, lead)
        keep = corpus.language[target] != corpus.language[source]
        for key in (unit, corpus.text_key[source], corpus.text_key[target]):
            keep &= _first_occurrence(key)
        chosen = np.flatnonzero(keep)
        return PairBatch(source[chosen], target[chosen], lead[chosen])


def _below(rng: np.random.Generator, limits: IntVector) -> IntVector:
    return (rng.random(len(limits)) * limits).astype(np.int64)


def _first_occurrence(
    keys: np.ndarray[tuple[int], np.dtype[np.generic]],
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask = np.zeros(len(keys), np.bool_)
    mask[np.unique(keys, return_index=True)[1]] = True
    return mask
