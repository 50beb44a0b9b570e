"""Texts to measure with: phrases, sentences and paragraphs of any number, always the same.

They are words of the model's own vocabulary in random order, since the time that an encoder takes
depends on how many tokens a text has and not on what they mean. Lengths spread as those of names,
of sentences and of paragraphs do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


class Kind(StrEnum):
    """What the texts of a measurement are like; the mix has half phrases, few paragraphs."""

    PHRASE = "phrase"
    SENTENCE = "sentence"
    PARAGRAPH = "paragraph"
    MIX = "mix"


_MIX = {Kind.PHRASE: 0.5, Kind.SENTENCE: 0.35, Kind.PARAGRAPH: 0.15}
# Words: the median, how widely their logarithm spreads, and the limits.
_WORDS = {
    Kind.PHRASE: (2, 0.5, 1, 5),
    Kind.SENTENCE: (15, 0.4, 5, 40),
    # With special tokens and full stops still below 256 tokens.
    Kind.PARAGRAPH: (110, 0.35, 50, 220),
}
_SENTENCE_OF_PARAGRAPH = 15


def words_of(tokenizer: Path) -> list[str]:
    """Words of three to ten Latin letters that are one token each, sorted; from tokenizer.json.

    Raises ValueError where there are fewer than a thousand.
    """
    vocabulary = Tokenizer.from_file(str(tokenizer)).get_vocab()
    # Byte-pair and unigram vocabularies mark the start of a word, WordPiece its continuation.
    bare = {re.sub("^[Ġ▁]", "", token) for token in vocabulary}
    words = sorted(word for word in bare if re.fullmatch("[a-z]{3,10}", word))
    if len(words) < 1_000:
        raise ValueError(f"{tokenizer} has {len(words)} plain words; 1000 are needed")
    return words


def make(words: Sequence[str], kind: Kind, count: int, seed: int = 0) -> list[str]:
    """`count` texts of one kind out of `words`; the same for the same seed."""
    rng = np.random.default_rng(seed)
    if kind is Kind.MIX:
        names = list(_MIX)
        kinds = [names[place] for place in rng.choice(len(names), count, p=list(_MIX.values()))]
    else:
        kinds = [kind] * count
    return [_text(words, one, rng) for one in kinds]


def _text(words: Sequence[str], kind: Kind, rng: np.random.Generator) -> str:
    median, deviation, fewest, most = _WORDS[kind]
    length = int(np.clip(round(median * np.exp(deviation * rng.normal())), fewest, most))
    chosen = [words[place] for place in rng.integers(len(words), size=length)]
    if kind is Kind.PHRASE:
        return " ".join(chosen)
    if kind is Kind.SENTENCE:
        return _sentence(chosen)
    step = _SENTENCE_OF_PARAGRAPH
    return " ".join(_sentence(chosen[at : at + step]) for at in range(0, length, step))


def _sentence(words: Sequence[str]) -> str:
    return f"{' '.join(words)}.".capitalize()
