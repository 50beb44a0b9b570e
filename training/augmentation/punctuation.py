"""Punctuation that is missing, doubled, or of another width."""

from __future__ import annotations

import unicodedata

import numpy as np

from training.augmentation.pieces import clusters

# ASCII punctuation has full-width twins at this distance; the full stop of Han text is its own.
_FULL_WIDTH_DISTANCE = 0xFEE0
_ASCII = [chr(point) for point in range(0x21, 0x7F) if unicodedata.category(chr(point))[0] == "P"]
_OTHER_WIDTH = {each: chr(ord(each) + _FULL_WIDTH_DISTANCE) for each in _ASCII} | {".": "。"}
_OTHER_WIDTH |= {wide: narrow for narrow, wide in _OTHER_WIDTH.items()}


def change_punctuation(text: str, rate: float, rng: np.random.Generator) -> str:
    """Drop, double, or write in the other width (full or half) each punctuation mark with
    probability `rate`.

    Marks between two digits belong to the number and stay. A text of nothing but marks stays whole.
    """
    found = clusters(text)
    result, before = "", ""
    for mark, after in zip(found, [*found[1:], ""], strict=False):
        in_number = before.isdigit() and after.isdigit()
        change = _is_mark(mark) and not in_number and rng.random() < rate
        written = _changed(mark, before, after, rng) if change else mark
        result += written
        if written:
            before = mark
    return result if result.strip() or not text.strip() else text


def _is_mark(cluster: str) -> bool:
    return len(cluster) == 1 and unicodedata.category(cluster)[0] == "P"


def _changed(mark: str, before: str, after: str, rng: np.random.Generator) -> str:
    """Another form of `mark`; nothing at all only where its neighbours stay two clusters."""
    forms = [mark * 2]
    if clusters(before + after) == [each for each in (before, after) if each]:
        forms.append("")
    if (other := _OTHER_WIDTH.get(mark)) is not None:
        forms.append(other)
    return forms[int(rng.integers(len(forms)))]
