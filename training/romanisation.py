"""Texts in Latin letters, for objectives that cross the border between scripts (ADR 9)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from anyascii import anyascii

from training.corpora.scripts import profile

# Han is read a syllable a character; run together they could not be told apart. Nor do its marks
# stand before a space.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_HAN_BORDER = re.compile(rf"(?<=[{_HAN}])(?=\w)|(?<=\w)(?=[{_HAN}])|(?<=[。，、！？；：])(?=\w)")

# The scripts of India, nine blocks of one plan, and Sinhala: a consonant without a vowel sign or a
# virama is spoken with an a. At the end of a word it is silent in the north; the south writes that.
_BLOCKS = range(0x0900, 0x0D80, 0x80)


def _in_blocks(first: int, last: int, blocks: range = _BLOCKS) -> str:
    return "".join(f"{chr(block + first)}-{chr(block + last)}" for block in blocks)


_CONSONANT = _in_blocks(0x15, 0x39) + "\u0d9a-\u0dc6"
_NUKTA = _in_blocks(0x3C, 0x3C)
_VOWEL_SIGN = _in_blocks(0x3E, 0x4D) + _in_blocks(0x62, 0x63) + "\u0dca-\u0ddf"
_SOUTH = _in_blocks(0x15, 0x39, range(0x0B80, 0x0D80, 0x80)) + "\u0d9a-\u0dc6"
_IN_WORD = _in_blocks(0x00, 0x63)
_SPOKEN_A = re.compile(
    rf"(?<=[{_CONSONANT}])([{_NUKTA}]?)(?![{_NUKTA}{_VOWEL_SIGN}])(?:(?=[{_IN_WORD}])|(?<=[{_SOUTH}]))"
)
# Thai and Lao write some vowels before the consonant after which they are spoken.
_VOWEL_BEFORE = re.compile("([\u0e40-\u0e44])([\u0e01-\u0e2e])|([\u0ec0-\u0ec4])([\u0e81-\u0eae])")
_LATIN = frozenset({"LATIN"})


def romanise(text: str) -> str:
    """`text` in ASCII: letters of every script by their usual romanisation, Latin ones without
    their marks, digits and punctuation by their ASCII twins, white space as single spaces.

    A character is read by itself: Han by its Mandarin reading, a space between syllables, Arabic
    and Hebrew without the vowels that are not written, Indian consonants with the a that is not.
    Characters that have no reading vanish; a text of nothing else becomes empty.
    """
    voiced = _SPOKEN_A.sub(r"\1a", unicodedata.normalize("NFC", text))
    spoken = _VOWEL_BEFORE.sub(r"\2\1\4\3", voiced)
    parted = _HAN_BORDER.sub(" ", spoken)
    return " ".join("".join(map(_reading, parted)).split())


def is_romanised(text: str) -> bool:
    """Whether all letters of `text` are Latin, so that a romanisation would say little more."""
    found = profile(text)
    return found.share(_LATIN) == 1 or found.letter_count == 0


@lru_cache(1 << 16)
def _reading(character: str) -> str:
    read = anyascii(character)
    # The library marks syllables of scripts without case by capitals.
    has_case = character.lower() != character.upper()
    return read if has_case else read.lower()
