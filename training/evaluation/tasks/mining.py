"""Bitext mining as in BUCC, built from the Tatoeba test: find the few pairs among many texts.

BUCC's own sets hold few languages; this one has all of Tatoeba's, in BUCC's form (Zweigenbaum et
al., 2017): most texts of either side have no translation, and a threshold is chosen on one half of
the data and applied to the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.evaluation.languages import CORE_WITHOUT_ENGLISH, Languages
from training.evaluation.measures import Retrieved, best_threshold
from training.evaluation.similarity import Flags, Mined, mine
from training.evaluation.task import Figure, Figures, Reader, Scored, Task
from training.evaluation.tasks.tatoeba import CORE_MEAN, Translations, read

# English sentences without a translation, in each of the two halves.
DISTRACTORS = 2000


@dataclass(frozen=True, slots=True)
class Half:
    """Texts to be paired: `gold` of the sources have their translation among the targets."""

    sources: list[str]
    targets: list[str]
    # Translations; a text may have several.
    gold: frozenset[tuple[str, str]]

    def correct(self, mined: Mined) -> Flags:
        """Which of the mined pairs are translations: (n,)."""
        pairs = zip(mined.sources, mined.targets, strict=True)
        return np.array(
            [(self.sources[i], self.targets[j]) in self.gold for i, j in pairs], dtype=np.bool_
        )


@dataclass(frozen=True, slots=True)
class MiningSet:
    """For each language, a half that chooses the threshold and a half that is scored."""

    halves: Mapping[str, tuple[Half, Half]]

    @property
    def languages(self) -> Sequence[str]:
        return list(self.halves)

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        both = [half for halves in self.halves.values() for half in halves]
        return {Granularity.SENTENCE: [t for half in both for t in (*half.sources, *half.targets)]}

    def score(self, reader: Reader) -> Scored:
        return Scored({name: _score(*halves, reader) for name, halves in self.halves.items()})


def _score(dev: Half, test: Half, reader: Reader) -> Figures:
    vectors = partial(reader.vectors, Granularity.SENTENCE)
    mined = mine(vectors(dev.sources), vectors(dev.targets))
    threshold = best_threshold(mined.margins, dev.correct(mined), len(dev.gold))
    mined = mine(vectors(test.sources), vectors(test.targets))
    accepted = mined.margins >= threshold
    hits = int((test.correct(mined) & accepted).sum())
    found = Retrieved.of(hits, int(accepted.sum()), len(test.gold))
    return {"f1": found.f1, "precision": found.precision, "recall": found.recall}


def load(folder: Path, languages: Languages) -> MiningSet:
    """Build the halves. Nothing is drawn: texts are ordered by the sha256 of themselves, so that
    neither the languages chosen nor the order of the file changes what a language is scored on."""
    everything = read(folder, Languages(None))
    english = {
        text for name in CORE_WITHOUT_ENGLISH if name in everything
        for text in everything[name].english
    }  # fmt: skip
    pool = sorted(english, key=_key)
    return MiningSet(
        {
            name: _halves(translations, pool)
            for name, translations in everything.items()
            if name in languages
        }
    )


def _halves(translations: Translations, pool: Sequence[str]) -> tuple[Half, Half]:
    """Every second text of the language loses its translation; so do all distractors, which are
    English texts of other languages' pairs that are no translation in this language's."""
    gold: dict[str, set[str]] = {}
    for other, english in zip(translations.other, translations.english, strict=True):
        gold.setdefault(other, set()).add(english)
    own = set(translations.english)
    distractors = [text for text in pool if text not in own][: 2 * DISTRACTORS]
    ordered = sorted(gold, key=_key)
    halves = []
    for part in range(2):
        translated, alone = ordered[part::4], ordered[part + 2 :: 4]
        pairs = frozenset((source, target) for source in translated for target in gold[source])
        targets = {target for _, target in pairs} | set(distractors[part::2])
        # What stands without its translation must not find it in the pool as another text's.
        sources = [*translated, *(source for source in alone if not gold[source] & targets)]
        halves.append(Half(sorted(sources, key=_key), sorted(targets, key=_key), pairs))
    return halves[0], halves[1]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


TASK = Task(
    "mining",
    "Bitext mining",
    "Tatoeba",
    "Find the translated pairs among texts most of which have none, as in BUCC: half of a "
    "language's Tatoeba sentences against the English of a quarter and 2,000 English sentences of "
    "other languages' pairs. Ratio margin with k = 4, best proposals of both sides first, one to "
    "one; the threshold that maximises F1 on one half of the data is applied to the other, which "
    "is scored.",
    (Granularity.SENTENCE,),
    (Figure("f1", "F1"), Figure("precision", "precision"), Figure("recall", "recall")),
    load,
    (CORE_MEAN,),
)
