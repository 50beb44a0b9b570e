"""Word alignment by the similarity of contextual word vectors (Jalili Sabet et al., 2020).

Gold links made by people, from `word_alignment/NAME_XX-YY.jsonl.xz`: Hansards en-fr, WPT ro-en,
KFTT ja-en, CzEnAli en-cs, XL-WA dev en-bg/es/hu/it/nl/ru.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle import Granularity
from training.corpora.tsv import open_text
from training.errors import TrainingError
from training.evaluation.languages import ANCHOR, Languages
from training.evaluation.task import Figure, Figures, Reader, Scored, Task
from training.evaluation.word_links import (
    METHODS,
    Links,
    alignment_error_rate,
    similarities,
)

FOLDER = "word_alignment"
_SUFFIX = ".jsonl.xz"


@dataclass(frozen=True, slots=True)
class AlignedSentence:
    """A sentence pair as words, with its gold links; `possible` need not repeat `sure`."""

    words_a: tuple[str, ...]
    words_b: tuple[str, ...]
    sure: Links
    possible: Links


@dataclass(frozen=True, slots=True)
class GoldAlignments:
    """Sentence pairs by the language that is not English."""

    pairs: Mapping[str, list[AlignedSentence]]

    @property
    def languages(self) -> Sequence[str]:
        return list(self.pairs)

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        sides = (
            side for pairs in self.pairs.values() for p in pairs for side in (p.words_a, p.words_b)
        )
        return {Granularity.WORD: [" ".join(words) for words in sides]}

    def score(self, reader: Reader) -> Scored:
        by_language: dict[str, Figures] = {}
        for language, pairs in self.pairs.items():
            one = reader.words([pair.words_a for pair in pairs])
            other = reader.words([pair.words_b for pair in pairs])
            alike = [similarities(a, b) for a, b in zip(one, other, strict=True)]
            sure, possible = [p.sure for p in pairs], [p.possible for p in pairs]
            by_language[language] = {
                f"aer_{name}": alignment_error_rate([link(each) for each in alike], sure, possible)
                for name, link in METHODS.items()
            }
        return Scored(by_language)


def load(folder: Path, languages: Languages) -> GoldAlignments:
    """The gold alignments of the languages chosen.

    Raises TrainingError where there are none at all, a line is not as described or a file holds no
    pair with English.
    """
    files = sorted((folder / FOLDER).glob(f"*{_SUFFIX}"))
    if not files:
        raise TrainingError(
            f"{folder} has no {FOLDER}/*{_SUFFIX}; put them there, or leave the task out by --tasks"
        )
    found: dict[str, list[AlignedSentence]] = {}
    for file in files:
        for language, pair in _read(file):
            if language in languages:
                found.setdefault(language, []).append(pair)
    return GoldAlignments(dict(sorted(found.items())))


def load_dev(folder: Path, languages: Collection[str]) -> dict[str, list[AlignedSentence]]:
    """By the name of its set, the development data in some of `languages`: the files in whose name
    `dev` stands as a word of its own, like `xlwa_dev_en-bg`. What is chosen by them was not chosen
    by a test.

    Raises TrainingError where there are none, or a line is not as described.
    """
    found: dict[str, list[AlignedSentence]] = {}
    for file in sorted((folder / FOLDER).glob(f"*{_SUFFIX}")):
        name = file.name.removesuffix(_SUFFIX)
        if "dev" in re.split("[_-]", name):
            pairs = [pair for language, pair in _read(file) if language in languages]
            if pairs:
                found[name] = pairs
    if not found:
        raise TrainingError(
            f"{folder} has no {FOLDER}/NAME_dev_XX-YY{_SUFFIX} in a language of {ANCHOR} with "
            f"{', '.join(languages)}"
        )
    return found


def _read(file: Path) -> Iterator[tuple[str, AlignedSentence]]:
    """Pairs with the language that is not English."""
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _parse(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise TrainingError(f"{file}, line {number}: {error!r}") from None


def _parse(row: Mapping[str, object]) -> tuple[str, AlignedSentence]:
    sides = (str(row["lang_a"]), str(row["lang_b"]))
    if ANCHOR not in sides:
        raise ValueError(f"languages are {'-'.join(sides)}; one of them must be {ANCHOR}")
    a, b = _words(row["tokens_a"]), _words(row["tokens_b"])
    pair = AlignedSentence(a, b, _links(row["sure"]), _links(row["possible"]))
    for i, j in pair.sure | pair.possible:
        if not (0 <= i < len(a) and 0 <= j < len(b)):
            raise ValueError(f"link {i}-{j} is outside {len(a)} and {len(b)} words")
    return sides[0] if sides[1] == ANCHOR else sides[1], pair


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("tokens are not a list of strings")
    return tuple(value)


def _links(value: object) -> Links:
    if not isinstance(value, list):
        raise ValueError("links are not a list")
    return frozenset((int(i), int(j)) for i, j in value)


TASK = Task(
    "word-alignment",
    "Word alignment",
    "word alignments",
    "Link the words of a sentence and its translation by the cosine of their vectors, each the "
    "mean of the states that the bundle's graph gives of its sub-words: alignment error rate (Och "
    "and Ney, 2003) of mutual best, of itermax (α 0.9, 2 rounds) and of maximum-weight matching, "
    "the methods of SimAlign (Jalili Sabet et al., 2020).",
    (Granularity.WORD,),
    (
        Figure("aer_argmax", "AER, argmax", lower_is_better=True),
        Figure("aer_itermax", "AER, itermax", lower_is_better=True),
        Figure("aer_match", "AER, match", lower_is_better=True),
    ),
    load,
    needs_tokens=True,
)
