"""Noise on the pairs that a batch is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from training.augmentation.casing import change_casing
from training.augmentation.code_switching import code_switch
from training.augmentation.punctuation import change_punctuation
from training.augmentation.recipe import AugmentationRecipe
from training.augmentation.typos import typos
from training.augmentation.word_order import shuffle_words
from training.corpora.tsv import ANCHOR, Pair
from training.dictionary import Dictionary
from training.errors import TrainingError

# Keeps this stream of random numbers apart from those that draw pairs.
_STREAM = 0xA6


class Batches(Protocol):
    """What draws the pairs of a batch, as a function of its number alone."""

    def batch(self, step: int, size: int) -> list[Pair]: ...


def open_dictionary(plan: AugmentationRecipe, languages: Sequence[str]) -> Dictionary | None:
    """What the plan's dictionary has in `languages`; None where it needs none.

    Raises TrainingError where its file is no dictionary, or has no words of two of them.
    """
    if plan.dictionary is None:
        return None
    dictionary = Dictionary.read(plan.dictionary, languages)
    if not len(dictionary):
        raise TrainingError(
            f"{plan.dictionary} has no word in two of the languages {', '.join(languages)}"
        )
    return dictionary


@dataclass(frozen=True, slots=True)
class Augmented:
    """The batches of a sampler with noise on their texts, a function of the seed and the number."""

    sampler: Batches
    plan: AugmentationRecipe
    languages: Sequence[str]  # to switch into
    dictionary: Dictionary | None
    seed: int

    def batch(self, step: int, size: int) -> list[Pair]:
        """The sampler's pairs for `step`, every text by itself noised or not."""
        rng = np.random.default_rng([self.seed, step, _STREAM])
        return [
            replace(
                pair,
                english=self._noised(pair.english, ANCHOR, rng),
                other=self._noised(pair.other, pair.language, rng),
            )
            for pair in self.sampler.batch(step, size)
        ]

    def _noised(self, text: str, language: str, rng: np.random.Generator) -> str:
        plan, rate, dictionary = self.plan, self.plan.rate, self.dictionary
        if dictionary is not None and rng.random() < plan.code_switching:
            # First, while the words are still those of the dictionary.
            text = code_switch(text, language, self.languages, dictionary, rate, rng)
        for change, probability in (
            (shuffle_words, plan.word_order),
            (change_casing, plan.casing),
            (change_punctuation, plan.punctuation),
            (typos, plan.typos),
        ):
            if rng.random() < probability:
                text = change(text, rate, rng)
        return text
