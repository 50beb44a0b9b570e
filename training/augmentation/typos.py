"""Slips of the fingers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from training.augmentation.pieces import clusters, pieces, spaced_words

# In shorter words a slip leaves nothing to know them by.
_SHORTEST = 3

# The usual keyboards of scripts that have one letter a key; a space is a key without a letter.
_KEYBOARDS = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    (" ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
    ("ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤر ىةوزظ"),
    ("  קראטוןםפ", "שדגכעיחלךף", "זסבהנמצתץ"),
)

_Slip = Callable[[list[str], int, np.random.Generator], list[str]]


def typos(text: str, rate: float, rng: np.random.Generator) -> str:
    """Give each word of three or more letters, with probability `rate`, one typo: two neighbouring
    letters swapped, one dropped, one doubled, or one replaced by its neighbour on the keyboard.

    Letters are grapheme clusters. Keyboards are known of the Latin, Cyrillic, Greek, Arabic and
    Hebrew scripts; elsewhere letters are swapped, dropped and doubled alone. Numbers, and scripts
    without spaces between words, where a slip is another word, stay as they are.
    """
    parts = pieces(text)
    for place in spaced_words(parts):
        if rng.random() < rate:
            parts[place] = _mistyped(parts[place], rng)
    return "".join(parts)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    letters = clusters(word)
    if len(letters) < _SHORTEST or any(map(str.isdigit, word)):
        return word
    slips: list[tuple[_Slip, list[int]]] = [
        (_swap, [at for at in range(len(letters) - 1) if letters[at] != letters[at + 1]]),
        (_drop, list(range(len(letters)))),
        (_double, list(range(len(letters)))),
        (_miss, [at for at, letter in enumerate(letters) if letter[0].lower() in _NEIGHBOURS]),
    ]
    possible = [(slip, places) for slip, places in slips if places]
    slip, places = possible[int(rng.integers(len(possible)))]
    return "".join(slip(letters, places[int(rng.integers(len(places)))], rng))


def _swap(letters: list[str], at: int, rng: np.random.Generator) -> list[str]:
    return [*letters[:at], letters[at + 1], letters[at], *letters[at + 2 :]]


def _drop(letters: list[str], at: int, rng: np.random.Generator) -> list[str]:
    return letters[:at] + letters[at + 1 :]


def _double(letters: list[str], at: int, rng: np.random.Generator) -> list[str]:
    return letters[: at + 1] + letters[at:]


def _miss(letters: list[str], at: int, rng: np.random.Generator) -> list[str]:
    base, marks = letters[at][0], letters[at][1:]
    near = _NEIGHBOURS[base.lower()]
    other = near[int(rng.integers(len(near)))]
    return [*letters[:at], (other.upper() if base.isupper() else other) + marks, *letters[at + 1 :]]


def _neighbours(rows: Sequence[str]) -> dict[str, str]:
    """Every letter's neighbours: beside it, and the two that it touches above and below; a row
    stands half a key to the right of the one above."""
    at = {(row, x): key for row, keys in enumerate(rows) for x, key in enumerate(keys)}
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(
            other for down, right in steps if (other := at.get((row + down, x + right), " ")) != " "
        )
        for (row, x), key in at.items()
        if key != " "
    }


_NEIGHBOURS: Mapping[str, str] = MappingProxyType(
    {key: near for rows in _KEYBOARDS for key, near in _neighbours(rows).items()}
)
