"""Scripts of texts and of languages, and how long a text is in terms of its script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np


class ScriptGroup(StrEnum):
    """Scripts that need about as many characters for the same content."""

    ALPHABETIC = "alphabetic"  # alphabets, abjads and abugidas
    HANGUL = "hangul"
    IDEOGRAPHIC = "ideographic"  # Han and kana


# Characters of an alphabet that say about as much as one character of the group.
DENSITY: Mapping[ScriptGroup, float] = {
    ScriptGroup.ALPHABETIC: 1.0,
    ScriptGroup.HANGUL: 2.0,
    ScriptGroup.IDEOGRAPHIC: 2.5,
}

# Names as in the Unicode character names; what is not here is OTHER.
_OTHER = "OTHER"
_SCRIPTS = (
    *("LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "SYRIAC", "THAANA", "DEVANAGARI"),
    *("BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM"),
    *("SINHALA", "THAI", "LAO", "TIBETAN", "MYANMAR", "GEORGIAN", "ARMENIAN", "ETHIOPIC"),
    *("KHMER", "MONGOLIAN", "TIFINAGH", "CHEROKEE", "CANADIAN", "HANGUL", "HIRAGANA", "KATAKANA"),
    *("BOPOMOFO", "CJK", _OTHER),
)
_NUMBER = {name: number for number, name in enumerate(_SCRIPTS, start=1)}  # 0: no letter
_SAME = {"IDEOGRAPHIC": "CJK", "KANGXI": "CJK"}
_GROUP = dict.fromkeys(_SCRIPTS, ScriptGroup.ALPHABETIC) | {
    "HANGUL": ScriptGroup.HANGUL,
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "BOPOMOFO", "CJK"), ScriptGroup.IDEOGRAPHIC),
}
# The planes that hold letters; what is above counts as none.
_CODE_POINTS = 0x32400

_JAPANESE = "HIRAGANA KATAKANA CJK"
# What a language is written in, where it is not Latin alone.
_WRITTEN_IN = {
    language: frozenset(scripts.split())
    for languages, scripts in {
        "ru uk bg be mk ky tt cv sah ba chm bua os ce ab kv udm myv": "CYRILLIC",
        "kk tg mn": "CYRILLIC LATIN ARABIC MONGOLIAN",
        "sr bs sh uz az tk crh": "CYRILLIC LATIN ARABIC",
        "el grc": "GREEK",
        "ar fa ur ps ug sd ckb arz ary prs pbt skr": "ARABIC",
        "ota ku ms ks bjn": "ARABIC LATIN DEVANAGARI",
        "pa": "GURMUKHI ARABIC",
        "he yi hbo": "HEBREW",
        "hi mr ne bho mai sa hne mag gom": "DEVANAGARI",
        "bn as": "BENGALI",
        "gu": "GUJARATI",
        "or": "ORIYA",
        "ta": "TAMIL",
        "te": "TELUGU",
        "kn": "KANNADA",
        "ml": "MALAYALAM",
        "si": "SINHALA",
        "th": "THAI",
        "lo": "LAO",
        "bo dz": "TIBETAN",
        "my": "MYANMAR",
        "ka": "GEORGIAN",
        "hy": "ARMENIAN",
        "am ti": "ETHIOPIC",
        "km": "KHMER",
        "ja": _JAPANESE,
        "ko": "HANGUL CJK",
        "zh yue wuu lzh": "CJK BOPOMOFO",
        "en de fr es it pt nl sv da nb nn no is fi et hu pl cs sk sl hr ro lt lv sq mt": "LATIN",
        "ga gd cy br eu ca gl oc ast an eo ia io ie la af id su jv tl ceb vi tr sw zu": "LATIN",
        "xh rw yo ig ha so mg mi haw ht fo lb li wa fy sm st tn sn war ilo vo szl vec": "LATIN",
        "lij lmo scn srd fur ltg nds": "LATIN",
    }.items()
    for language in languages.split()
}
_SCRIPT_TAGS = {
    "Latn": "LATIN",
    "Cyrl": "CYRILLIC",
    "Arab": "ARABIC",
    "Deva": "DEVANAGARI",
    "Beng": "BENGALI",
    "Mymr": "MYANMAR",
    "Tibt": "TIBETAN",
    "Tfng": "TIFINAGH",
    "Hant": "CJK BOPOMOFO",
    "Hans": "CJK BOPOMOFO",
}


# Thai, Lao, Myanmar, Khmer, kana and Han.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def is_unspaced(text: str) -> bool:
    """Whether some of it is in a script that puts no spaces between words."""
    return _UNSPACED.search(text) is not None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a text is made of: its characters, and its letters by script."""

    characters: int
    letters: Mapping[str, int]

    @property
    def letter_count(self) -> int:
        """Letters of every script, with the marks that belong to one."""
        return sum(self.letters.values())

    @property
    def group(self) -> ScriptGroup:
        """The group of most letters; ALPHABETIC where there are none."""
        counts = dict.fromkeys(ScriptGroup, 0)
        for script, count in self.letters.items():
            counts[_GROUP[script]] += count
        return max(counts, key=counts.__getitem__)

    @property
    def weight(self) -> float:
        """Characters that the text would have in an alphabet, about."""
        dense = sum((DENSITY[_GROUP[script]] - 1) * n for script, n in self.letters.items())
        return self.characters + dense

    def share(self, scripts: frozenset[str]) -> float:
        """The part of the letters, weighted by density, that stands in `scripts`; 0 without any."""
        weights = {script: DENSITY[_GROUP[script]] * n for script, n in self.letters.items()}
        total = sum(weights.values())
        inside = sum(weight for script, weight in weights.items() if script in scripts)
        return inside / total if total else 0.0


def profile(text: str) -> Profile:
    """Count a text's characters and, by script, its letters."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    table = _script_of_code_points()
    counts = np.bincount(table[np.minimum(points, _CODE_POINTS - 1)], minlength=1)
    present = np.flatnonzero(counts)
    letters = {_SCRIPTS[number - 1]: int(counts[number]) for number in present if number}
    return Profile(len(text), letters)


@lru_cache(maxsize=4096)
def scripts_of(language: str) -> frozenset[str] | None:
    """The scripts that a language is written in; None where the tables do not know.

    A script tag decides (`sr-Latn`, `bjn_Arab`); a region is passed over (`pt-PT`).
    """
    base, *tags = language.replace("_", "-").split("-")
    for tag in tags:
        if (scripts := _SCRIPT_TAGS.get(tag.title())) is not None:
            return frozenset(scripts.split())
        if len(tag) == 4:
            return None
    return _WRITTEN_IN.get(base)


@cache
def _script_of_code_points() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """For every code point the number of its script, from its Unicode name; 0 for no letter."""
    table = np.zeros(_CODE_POINTS, dtype=np.uint8)
    for point in range(_CODE_POINTS - 1):
        character = chr(point)
        kind = unicodedata.category(character)
        if kind[0] not in "LM":
            continue
        words = unicodedata.name(character, "").replace("-", " ").split()
        if words and words[0] in ("FULLWIDTH", "HALFWIDTH"):
            words = words[1:]
        first = _SAME.get(words[0], words[0]) if words else ""
        if first in _NUMBER:
            table[point] = _NUMBER[first]
        elif kind[0] == "L" and words[:1] != ["MODIFIER"]:
            table[point] = _NUMBER[_OTHER]
    return table
