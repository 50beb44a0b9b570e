"""Translation retrieval on LASER's Tatoeba test: accuracy, xsim and MEXA.

Up to 1,000 sentences in each of 112 languages with their English translations (Artetxe and Schwenk,
"Massively Multilingual Sentence Embeddings", 2019), from `tatoeba.pairs.tsv.xz`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.corpora.tsv import read_pairs
from training.evaluation.languages import CORE_WITHOUT_ENGLISH, FROM_ISO_639_3, Languages
from training.evaluation.measures import hits_at
from training.evaluation.similarity import Vectors, is_strictly_best, margin_hits, ranks
from training.evaluation.task import Figure, Figures, Mean, Reader, Scored, Task, test_set_file

FILE = "tatoeba.pairs.tsv.xz"
CORE_MEAN = Mean("mean of the 30 languages", CORE_WITHOUT_ENGLISH)


@dataclass(frozen=True, slots=True)
class Translations:
    """English texts and, at the same places, their translations."""

    english: list[str]
    other: list[str]


@dataclass(frozen=True, slots=True)
class ParallelTexts:
    """Translations by language, and what is to be measured between the two sides of each."""

    granularity: Granularity
    translations: Mapping[str, Translations]
    # (English, other), each (n, dim) → figures
    measure: Callable[[Vectors, Vectors], Figures]

    @property
    def languages(self) -> Sequence[str]:
        return list(self.translations)

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        sides = (side for each in self.translations.values() for side in (each.english, each.other))
        return {self.granularity: [text for side in sides for text in side]}

    def score(self, reader: Reader) -> Scored:
        vectors = partial(reader.vectors, self.granularity)
        return Scored(
            {
                language: self.measure(vectors(each.english), vectors(each.other))
                for language, each in self.translations.items()
            }
        )


def read(folder: Path, languages: Languages) -> dict[str, Translations]:
    """The Tatoeba test by language, sorted; languages by ISO 639-1 where they have such a code."""
    found: dict[str, Translations] = {}
    for pair in read_pairs(test_set_file(folder, FILE), Granularity.SENTENCE):
        language = FROM_ISO_639_3.get(pair.language, pair.language)
        if language in languages:
            each = found.setdefault(language, Translations([], []))
            each.english.append(pair.english)
            each.other.append(pair.other)
    return dict(sorted(found.items()))


def accuracy(english: Vectors, other: Vectors) -> Figures:
    """Top-1 accuracy by cosine, in both directions and their mean; the pool of a language is the
    other side of its own pairs."""
    gold = np.arange(len(english))
    to_english = hits_at(ranks(other, english, gold), 1)
    from_english = hits_at(ranks(english, other, gold), 1)
    return {
        "accuracy": (to_english + from_english) / 2,
        "xx_to_en": to_english,
        "en_to_xx": from_english,
    }


def xsim(english: Vectors, other: Vectors) -> Figures:
    """Share of texts whose translation has not the best ratio margin among their 4 nearest."""
    gold = np.arange(len(english))
    to_english = 100 - 100 * float(margin_hits(other, english, gold).mean())
    from_english = 100 - 100 * float(margin_hits(english, other, gold).mean())
    return {
        "error": (to_english + from_english) / 2,
        "xx_to_en": to_english,
        "en_to_xx": from_english,
    }


def mexa(english: Vectors, other: Vectors) -> Figures:
    """Share of pairs whose cosine is strictly above all others of its row and its column."""
    return {"mexa": 100 * float(is_strictly_best(english, other).mean())}


def _loader(
    measure: Callable[[Vectors, Vectors], Figures],
) -> Callable[[Path, Languages], ParallelTexts]:
    def load(folder: Path, languages: Languages) -> ParallelTexts:
        return ParallelTexts(Granularity.SENTENCE, read(folder, languages), measure)

    return load


ACCURACY = Task(
    "tatoeba",
    "Tatoeba",
    "Tatoeba",
    "Find the translation of a sentence, by cosine, among the other side of its language's pairs "
    "with English: top-1 accuracy, the mean of both directions. LASER's Tatoeba test, up to 1,000 "
    "pairs a language (Artetxe and Schwenk, 2019).",
    (Granularity.SENTENCE,),
    (
        Figure("accuracy", "accuracy"),
        Figure("xx_to_en", "xx→en"),
        Figure("en_to_xx", "en→xx"),
    ),
    _loader(accuracy),
    (CORE_MEAN,),
)
XSIM = Task(
    "xsim",
    "xsim",
    "Tatoeba",
    "Share of Tatoeba sentences whose translation does not have the best ratio margin among their "
    "4 nearest neighbours, the mean of both directions (xsim; Heffernan et al., 2022).",
    (Granularity.SENTENCE,),
    (
        Figure("error", "error", lower_is_better=True),
        Figure("xx_to_en", "xx→en", lower_is_better=True),
        Figure("en_to_xx", "en→xx", lower_is_better=True),
    ),
    _loader(xsim),
    (CORE_MEAN,),
)
MEXA = Task(
    "mexa-sentences",
    "MEXA sentences",
    "Tatoeba",
    "Share of Tatoeba pairs whose cosine is strictly above every other of its row and its column "
    "(MEXA; Kargaran et al., 2024), on the embeddings, not on inner layers.",
    (Granularity.SENTENCE,),
    (Figure("mexa", "share"),),
    _loader(mexa),
    (CORE_MEAN,),
)
