"""The scripts that the router tells apart, and how long one sentence is in each."""

from __future__ import annotations

import re
from enum import StrEnum


class Script(StrEnum):
    """Scripts, grouped by what tells a sentence in them when no mark does."""

    ALPHABET = "alphabet"  # Latin, Cyrillic, Greek, Armenian, Georgian, and all not named below
    SEMITIC = "semitic"  # Arabic, Hebrew, Syriac, Thaana, N'Ko, Ethiopic: words, no capitals
    INDIC = "indic"  # Devanagari to Sinhala: words, no capitals, verb last
    HANGUL = "hangul"  # words, verb last
    KANA = "kana"  # Japanese: no spaces, verb last
    HAN = "han"  # Chinese: no spaces
    SOUTHEAST = "southeast"  # Thai, Lao, Khmer, Burmese: no spaces within a clause


# About 128 tokens, the sentence adapter's maximum, in characters. See docs/routing.md.
MAX_SENTENCE_CHARACTERS = {
    Script.ALPHABET: 450,
    Script.SEMITIC: 380,
    Script.INDIC: 400,
    Script.HANGUL: 240,
    Script.KANA: 220,
    Script.HAN: 200,
    Script.SOUTHEAST: 400,
}
LONGEST_SENTENCE = max(MAX_SENTENCE_CHARACTERS.values())

# The first character outside the alphabets, by the order of `_GROUPS`.
_OUTSIDE_ALPHABETS = re.compile(
    "([\u0590-\u08ff\u1200-\u139f\ufb1d-\ufdff\ufe70-\ufefc])"
    "|([\u0900-\u0dff\ua8e0-\ua8ff])"
    "|([\u1100-\u11ff\u3130-\u318f\uac00-\ud7af])"
    "|([\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f])"
    "|([\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\uaa60-\uaa7f])"
)
_GROUPS = (
    Script.ALPHABET,
    Script.SEMITIC,
    Script.INDIC,
    Script.HANGUL,
    Script.KANA,
    Script.HAN,
    Script.SOUTHEAST,
)
_KANA = re.compile("[\u3040-\u30ff\uff66-\uff9f]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z]")


def script_of(text: str) -> Script:
    """The group of the script that most of `text` is written in; ALPHABET where in doubt."""
    if text.isascii() or not (found := _OUTSIDE_ALPHABETS.search(text)):
        return Script.ALPHABET
    script = _GROUPS[found.lastindex or 0]
    # A quoted word does not make the text around it Chinese: a Latin word has about four letters
    # for each character of an unspaced script.
    if text[0].isascii() and len(_LATIN.findall(text)) > 4 * len(_OUTSIDE_ALPHABETS.findall(text)):
        return Script.ALPHABET
    if script is Script.HAN:
        if _KANA.search(text):
            return Script.KANA
        if _HANGUL.search(text):
            return Script.HANGUL
    return script


def is_small(letter: str) -> bool:
    """Whether `letter` is lower case where its script starts sentences with capitals."""
    # Georgian has capitals in Unicode, for headlines only.
    return letter.islower() and not "\u10d0" <= letter <= "\u10ff"
