"""Excerpts of paragraphs: a sentence, or a phrase of words that few paragraphs have."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from models.bundle import Granularity
from training.corpora.rows import Row
from training.corpora.scripts import is_unspaced

_CUTS_PER_DRAW = 8
# A phrase begins and ends with words that stand in at most this share of the language's paragraphs,
# or in two of them.
_RARE_SHARE = 0.003
_PHRASE_WORDS = 3
_SENTENCE_CHARACTERS = 12
# The end of a sentence: marks that also occur inside one need a space after them.
_SENTENCE_END = re.compile(r"(?<=[。！？।॥።۔])\s*|(?<=[.!?؟…])[\"'»”’)]*\s+")
_TOKEN = re.compile(r"\S+")
# Inside a word; everywhere else they part words. Marks and joiners belong to letters: without
# them, the words of Indic scripts and of Persian would fall apart.
_INNER = frozenset("'’-‐")


class Excerpts:
    """Cuts sentences and phrases from paragraphs, having seen which words are rare in them."""

    def __init__(self, paragraphs: Iterable[Row]) -> None:
        self._words: dict[str, Counter[str]] = {}
        self._paragraphs: Counter[str] = Counter()
        for row in paragraphs:
            words = {row.text[place].casefold() for place in _words(row.text)}
            self._words.setdefault(row.language, Counter()).update(words)
            self._paragraphs[row.language] += 1

    def cut(self, finer: Granularity, row: Row, rng: np.random.Generator) -> str | None:
        """A sentence or a phrase of the paragraph `row`; None where the dice find none."""
        if finer == Granularity.SENTENCE:
            return cut_sentence(row.text, rng)
        words = _words(row.text)
        for _ in range(_CUTS_PER_DRAW):
            phrase = _phrase(row.text, words, rng)
            if phrase is not None and self.is_rare(row.language, phrase):
                return phrase
        return None

    def is_rare(self, language: str, phrase: str) -> bool:
        """Whether the phrase begins and ends with rare words that are not numbers."""
        words = phrase.casefold().split(" ")
        most = max(2.0, _RARE_SHARE * self._paragraphs[language])
        return all(
            self._words[language][word] <= most and not any(map(str.isdecimal, word))
            for word in (words[0], words[-1])
        )


def cut_sentence(text: str, rng: np.random.Generator) -> str | None:
    """One of the sentences of a paragraph; None where it has no two of some length."""
    found = map(str.strip, _SENTENCE_END.split(text))
    parts = [part for part in found if len(part) >= _SENTENCE_CHARACTERS]
    return parts[int(rng.integers(len(parts)))] if len(parts) > 1 else None


def cut_phrase(text: str, rng: np.random.Generator) -> str | None:
    """One to three words that follow each other with nothing but a space between them; None where
    the dice fall on another place, or on a script that puts no spaces between words."""
    return _phrase(text, _words(text), rng)


def _phrase(text: str, words: Sequence[slice], rng: np.random.Generator) -> str | None:
    if not words:
        return None
    count = 1 + int(rng.integers(_PHRASE_WORDS))
    first = int(rng.integers(len(words)))
    chosen = words[first : first + count]
    gaps = [text[before.stop : after.start] for before, after in pairwise(chosen)]
    phrase = text[chosen[0].start : chosen[-1].stop]
    if len(chosen) < count or any(gap != " " for gap in gaps) or is_unspaced(phrase):
        return None
    return phrase


def _words(text: str) -> list[slice]:
    """Where the words stand: what is between spaces, without the punctuation around it, if there is
    none inside."""
    found = []
    for token in _TOKEN.finditer(text):
        first, end = token.span()
        while first < end and not _is_letter(text[first]):
            first += 1
        while first < end and not _is_letter(text[end - 1]):
            end -= 1
        if first < end and all(_is_letter(each) or each in _INNER for each in text[first:end]):
            found.append(slice(first, end))
    return found


def _is_letter(character: str) -> bool:
    """Whether it is a letter, a digit, or a mark or joiner of one."""
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Cf"
