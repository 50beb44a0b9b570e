"""Part a text into words and what stands between them, on the borders of grapheme clusters."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from training.corpora.scripts import is_unspaced

# Inside a word, between two letters or digits: don't, kilo-watt; inside a number: 3.5, 10:30.
# Everywhere else they part words.
_INNER = frozenset("'’-‐")
_INNER_OF_NUMBERS = frozenset(".,:")


def clusters(text: str) -> list[str]:
    """The grapheme clusters of a text (Unicode Annex 29): a base with all that belongs to it."""
    found: list[str] = regex.findall(r"\X", text)
    return found


def pieces(text: str) -> list[str]:
    """A gap, a word, a gap, … a gap: words stand at odd places, and all of them joined are `text`.

    A word is a run of clusters with letters or digits, with single apostrophes and hyphens inside,
    and a number with its points. Where a script puts no spaces between words (Thai, Han, kana),
    such a run is many words: `is_unspaced` tells.
    """
    found = [""]
    whole = clusters(text)
    for before, cluster, after in zip(["", *whole], whole, [*whole[1:], ""], strict=False):
        if _is_in_word(before, cluster, after) == (len(found) % 2 == 0):
            found[-1] += cluster
        else:
            found.append(cluster)
    return found if len(found) % 2 else [*found, ""]


def _is_in_word(before: str, cluster: str, after: str) -> bool:
    if cluster in _INNER:
        return is_word_part(before) and is_word_part(after)
    if cluster in _INNER_OF_NUMBERS:
        return before.isdigit() and after.isdigit()
    return is_word_part(cluster)


def is_word_part(cluster: str) -> bool:
    """Whether a cluster holds a letter or a digit."""
    return any(map(str.isalnum, cluster))


def spaced_words(parts: list[str]) -> Iterator[int]:
    """The places of those `pieces` that are one word each: not of scripts without spaces."""
    return (place for place in range(1, len(parts), 2) if not is_unspaced(parts[place]))
