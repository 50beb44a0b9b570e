"""Two spans of one text, which unsupervised contrast takes for a pair."""

from __future__ import annotations

import numpy as np

from training.augmentation.pieces import clusters, pieces
from training.corpora.scripts import is_unspaced

# A text of fewer units is no text to cut twice.
FEWEST_UNITS = 4

_Span = tuple[int, int]


def crop_pair(
    text: str,
    rng: np.random.Generator,
    shortest: float = 0.1,
    longest: float = 0.5,
    disjoint: bool = False,
) -> tuple[str, str] | None:
    """Two different random spans of `text`, each `shortest` to `longest` of its units long: the
    independent crops of Contriever (Izacard et al., 2022). They may overlap unless `disjoint`.

    Units are words, and grapheme clusters where a script puts no spaces between words. None where
    the text has fewer than four. Raises ValueError where the lengths are no shares, or where two
    of the longest do not fit beside each other and are to be disjoint.
    """
    if not 0 < shortest <= longest < 1 or (disjoint and longest > 0.5):
        raise ValueError(
            f"shortest is {shortest} and longest {longest}; use shares between 0 and 1, rising, "
            "and at most 0.5 for disjoint spans"
        )
    units = _units(text)
    if len(units) < FEWEST_UNITS:
        return None
    most = max(1, int(longest * len(units)))
    least = min(most, max(1, round(shortest * len(units))))
    lengths = [int(each) for each in rng.integers(least, most + 1, 2)]
    first, second = (_disjoint if disjoint else _independent)(len(units), lengths, rng)
    return _cut(text, units, first), _cut(text, units, second)


def _independent(units: int, lengths: list[int], rng: np.random.Generator) -> tuple[_Span, _Span]:
    first, second = ((int(rng.integers(units - each + 1)), each) for each in lengths)
    if first == second:  # the next place, round the end
        second = (second[0] + 1) % (units - second[1] + 1), second[1]
    return first, second


def _disjoint(units: int, lengths: list[int], rng: np.random.Generator) -> tuple[_Span, _Span]:
    slack = units - sum(lengths)
    before, until = sorted(int(each) for each in rng.integers(slack + 1, size=2))
    left, right = (before, lengths[0]), (until + lengths[0], lengths[1])
    return (left, right) if rng.random() < 0.5 else (right, left)


def _cut(text: str, units: list[_Span], span: _Span) -> str:
    first, count = span
    return text[units[first][0] : units[first + count - 1][1]]


def _units(text: str) -> list[_Span]:
    """Where the units stand: from and to."""
    found: list[_Span] = []
    at = 0
    for place, piece in enumerate(pieces(text)):
        parts = clusters(piece) if is_unspaced(piece) else [piece]
        for part in parts:
            if place % 2:
                found.append((at, at + len(part)))
            at += len(part)
    return found
