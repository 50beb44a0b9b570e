"""Semantic textual similarity: the STS benchmark's development set in 13 languages.

1,500 pairs of sentences rated 0 to 5 (Cer et al., 2017); machine-translated but for English and
Korean. From `stsb_dev.tsv.xz`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle import Granularity
from training.corpora.tsv import open_text, table_rows
from training.errors import TrainingError
from training.evaluation.languages import ANCHOR, Languages
from training.evaluation.measures import spearman
from training.evaluation.task import Figure, Mean, Reader, Scored, Task, test_set_file

FILE = "stsb_dev.tsv.xz"
COLUMNS = ("split", "lang", "id", "sentence1", "sentence2", "score")
NINE = ("de", "es", "fr", "it", "nl", "pl", "pt", "ru", "zh")


@dataclass(frozen=True, slots=True)
class RatedPairs:
    """Pairs of sentences and their gold similarity, by language."""

    pairs: Mapping[str, list[tuple[str, str, float]]]

    @property
    def languages(self) -> Sequence[str]:
        return list(self.pairs)

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        rows = (row for pairs in self.pairs.values() for row in pairs)
        return {Granularity.SENTENCE: [text for row in rows for text in row[:2]]}

    def score(self, reader: Reader) -> Scored:
        by_language = {}
        for language, pairs in self.pairs.items():
            one = reader.vectors(Granularity.SENTENCE, [first for first, _, _ in pairs])
            other = reader.vectors(Granularity.SENTENCE, [second for _, second, _ in pairs])
            cosines = (one * other).sum(axis=1)
            by_language[language] = {"spearman": spearman(cosines, [gold for *_, gold in pairs])}
        return Scored(by_language)


def _load(folder: Path, wanted: Callable[[str], bool]) -> RatedPairs:
    file = test_set_file(folder, FILE)
    pairs: dict[str, list[tuple[str, str, float]]] = {}
    with open_text(file) as lines:
        for number, row in enumerate(table_rows(file, lines, COLUMNS), start=2):
            _, language, _, first, second, score = row
            if wanted(language):
                try:
                    gold = float(score)
                except ValueError:
                    raise TrainingError(
                        f"{file}, line {number}: score is {score!r}; expected a number"
                    ) from None
                pairs.setdefault(language, []).append((first, second, gold))
    return RatedPairs(dict(sorted(pairs.items())))


def load_english(folder: Path, languages: Languages) -> RatedPairs:
    """The English pairs, as rated."""
    return _load(folder, lambda language: language == ANCHOR and language in languages)


def load_others(folder: Path, languages: Languages) -> RatedPairs:
    """The translated pairs of the languages chosen."""
    return _load(folder, lambda language: language != ANCHOR and language in languages)


_FIGURES = (Figure("spearman", "Spearman × 100"),)
ENGLISH = Task(
    "sts-english",
    "STSb English",
    "STS benchmark",
    "Spearman correlation × 100 of the cosine of two sentences with people's rating of their "
    "likeness: the STS benchmark's development set, English (Cer et al., 2017).",
    (Granularity.SENTENCE,),
    _FIGURES,
    load_english,
)
OTHERS = Task(
    "sts",
    "STSb, other languages",
    "STS benchmark",
    "The same within each of the languages into which the set was translated, by machine but for "
    "Korean. The headline is the mean of de es fr it nl pl pt ru zh.",
    (Granularity.SENTENCE,),
    _FIGURES,
    load_others,
    (Mean("mean of the 9 languages", NINE),),
)
