"""Words replaced by their partners in other languages."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from training.augmentation.pieces import clusters, is_word_part, pieces
from training.corpora.scripts import is_unspaced
from training.dictionary import Dictionary, Partner

# In a script without spaces, words of one letter are found inside others; longer than this are few.
_SHORTEST_MATCH, _LONGEST_MATCH = 2, 8


def code_switch(
    text: str,
    language: str,
    into: Collection[str],
    dictionary: Dictionary,
    rate: float,
    rng: np.random.Generator,
) -> str:
    """Replace each word of `text`, with probability `rate`, by a partner that `dictionary` has for
    it in one of the languages `into`; words without a partner stay (Qin et al., 2020, CoSDA-ML).

    The language is drawn alike among those with a partner, then a partner in proportion to the
    meanings that it shares with the word. Capitals are kept. Where a script puts no spaces between
    words, the longest entries of two letters or more are the words, from left to right; a partner
    in a script with spaces gets some there.
    """
    parts = pieces(text)
    for place in range(1, len(parts), 2):
        if is_unspaced(parts[place]):
            parts[place] = _switch_run(parts[place], language, into, dictionary, rate, rng)
        elif rng.random() < rate:
            partners = dictionary.partners(language, parts[place], into)
            if partners:
                parts[place] = _in_case_of(parts[place], _draw(partners, rng))
    return "".join(parts)


def _switch_run(
    run: str,
    language: str,
    into: Collection[str],
    dictionary: Dictionary,
    rate: float,
    rng: np.random.Generator,
) -> str:
    """`run`, of a script without spaces, with some of the words that are found in it replaced."""
    letters = clusters(run)
    result, at, open_end = "", 0, False
    while at < len(letters):
        size = _longest_match(letters[at:], language, dictionary)
        found = "".join(letters[at : at + max(1, size)])
        at += max(1, size)
        partners: tuple[Partner, ...] = ()
        if size and rng.random() < rate:
            partners = dictionary.partners(language, found, into)
        if partners:
            found = _draw(partners, rng)
            space = result and (open_end or not is_unspaced(found))
            open_end = not is_unspaced(found)
        else:
            space = open_end
            open_end = False
        result += " " * bool(space and is_word_part(clusters(found)[0])) + found
    return result


def _longest_match(letters: list[str], language: str, dictionary: Dictionary) -> int:
    """How many of the first letters are a word; 0 where none are."""
    for size in range(min(_LONGEST_MATCH, len(letters)), _SHORTEST_MATCH - 1, -1):
        if dictionary.knows(language, "".join(letters[:size])):
            return size
    return 0


def _draw(partners: tuple[Partner, ...], rng: np.random.Generator) -> str:
    languages = sorted({partner.language for partner in partners})
    language = languages[int(rng.integers(len(languages)))]
    words = [partner for partner in partners if partner.language == language]
    shares = np.array([partner.meanings for partner in words], np.float64)
    return words[int(rng.choice(len(words), p=shares / shares.sum()))].word


def _in_case_of(word: str, partner: str) -> str:
    """`partner` with the capitals of `word`: all, the first, or its own."""
    if len(word) > 1 and word.isupper():
        return partner.upper()
    return partner[:1].upper() + partner[1:] if word[:1].isupper() else partner
