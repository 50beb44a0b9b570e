"""What a text shows where no mark tells: phrase or sentence, and in Thai and Lao, one or several.

Each question is answered by named features of the text and a table of log-odds for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from service.encoding.routing.cues import CUE_CHUNKS, CUE_ENDINGS, CUE_WORDS
from service.encoding.routing.scripts import Script
from service.encoding.routing.weights import SENTENCE_WEIGHTS, SEVERAL_WEIGHTS

# Thai makes nouns with these, and names of things start with them.
_NOUN_START = re.compile(
    "การ|ความ|ภาษา|ประเทศ|เครื่อง|ร้าน|หมู่เกาะ|เกาะ|ธง|โรง|สถานี|สาธารณ|รูป|สี|ปุ่ม|ลูกศร|นัก|ทาง|ที่|ตัว|โรค|"
    "เมือง|จังหวัด|แม่น้ำ|ทะเล|หน้า|ใบหน้า|แบบ|ชุด|อักษร|เวลา|มือ|ระบบ|สัญลักษณ์|เครือ|อาคาร|พื้นที่|สนาม|ศูนย์"
)
_LENGTH_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 11, 15)
_UNSPACED_BUCKETS = {
    Script.KANA: (3, 5, 7, 9, 12, 16, 22),
    Script.HAN: (2, 3, 4, 5, 6, 8, 11, 16),
    Script.SOUTHEAST: (6, 10, 14, 18, 24, 32, 48, 72, 100),
}


def _bucket_names(bounds: tuple[int, ...], unit: str) -> tuple[str, ...]:
    """The feature of each count up to the last bound, by index; the last stands for all above."""
    names: list[str] = []
    lower = -1
    for bound in bounds:
        names += [f"{unit}<={bound}"] * (bound - lower)
        lower = bound
    return (*names, f"{unit}>{bounds[-1]}")


_WORDS = _bucket_names(_LENGTH_BUCKETS, "words")
_CHARACTERS = {
    script: _bucket_names(bounds, "characters") for script, bounds in _UNSPACED_BUCKETS.items()
}
_CUES = ("cues=0", "cues=1", "cues=2", "cues=3", "cues=4", "cues>4")
_TRIM = " \t\n\"'«»“”„‘’()[]{}.,;:!?…*_-–—।、。"


def is_sentence_without_mark(text: str, script: Script) -> bool:
    """Whether `text`, whose end no mark closes, is a sentence rather than a phrase."""
    return _favours(SENTENCE_WEIGHTS[script], sentence_features(text, script))


def sentence_features(text: str, script: Script) -> list[str]:
    """What a text without a final mark shows for and against being a sentence, by name."""
    bare = text.strip(_TRIM) or text
    shown: list[str] = []
    if chunks := CUE_CHUNKS.get(script):
        names = _CHARACTERS[script]
        shown.append(names[min(len(bare), len(names) - 1)])
        shown.append(_CUES[min(len(set(chunks.findall(bare))), 5)])
        if " " in bare:
            shown.append("space")
        if script is Script.SOUTHEAST and _NOUN_START.match(bare):
            shown.append("noun")
    else:
        words = bare.split()
        shown.append(_WORDS[min(len(words), len(_WORDS) - 1)])
        spoken = bare.lower().replace(",", "").split()
        cues = sum(word in CUE_WORDS for word in spoken) + ("I" in words)
        shown.append(_CUES[min(cues, 5)])
        if script is Script.ALPHABET and len(words) > 1 and not any(w[0].islower() for w in words):
            shown.append("title case")
        if "," in bare or "،" in bare:
            shown.append("comma")
    if (endings := CUE_ENDINGS.get(script)) and bare.lower().endswith(endings):
        shown.append("ending")
    # Names list what they hold; in a long text these marks say nothing.
    if len(bare) <= 60 and any(mark in bare for mark in "(:/（："):
        shown.append("bracket, colon or slash")
    if any(character.isdigit() for character in bare):
        shown.append("digit")
    return shown


# --- Thai and Lao, which mark no sentence: more than one? -----------------------------------------

_THAI_OR_LAO = re.compile("[\u0e00-\u0eff]")
_CLAUSE_BUCKETS = (40, 60, 80, 100, 120, 150, 180, 220)
_PAUSE_BUCKETS = (0, 1, 2, 3, 4, 6, 9)
# A space beside a digit, a Latin word or the repetition mark is spelling, not a pause.
_PAUSE = re.compile("(?<=[\u0e00-\u0eff]) +(?=[\u0e00-\u0e45\u0e80-\u0ec5])")
_CLAUSE_START = re.compile(
    " (?:ฉัน|ผม|เขา|เธอ|คุณ|พวก|เรา|มัน|แต่|และ|ถ้า|หาก|โดย|เมื่อ|ดังนั้น|นอกจาก|อย่างไรก็|นี่|"
    "ຂ້ອຍ|ເຈົ້າ|ເຂົາ|ລາວ|ທ່ານ|ພວກ|ແຕ່|ຖ້າ)"
)
_TEXT_LENGTHS = _bucket_names(_CLAUSE_BUCKETS, "characters")
_PAUSE_NAMES = _bucket_names(_PAUSE_BUCKETS, "pauses")
_STARTS = ("starts=0", "starts=1", "starts=2", "starts>2")


def is_several_without_mark(text: str) -> bool:
    """Whether `text` is Thai or Lao, and more than one sentence by its length and pauses."""
    return bool(_THAI_OR_LAO.search(text)) and _favours(SEVERAL_WEIGHTS, several_features(text))


def several_features(text: str) -> list[str]:
    """What a Thai or Lao text shows for being more than one sentence, by name."""
    starts = len(_CLAUSE_START.findall(text))
    pauses = len(_PAUSE.findall(text))
    shown = [
        _TEXT_LENGTHS[min(len(text), len(_TEXT_LENGTHS) - 1)],
        _PAUSE_NAMES[min(pauses, len(_PAUSE_NAMES) - 1)],
        _STARTS[min(starts, 3)],
    ]
    if "แล้ว " in text or "ครับ " in text or "ค่ะ " in text:
        shown.append("particle before a space")
    return shown


# --- both -----------------------------------------------------------------------------------------


def _favours(weights: Mapping[str, float], shown: Iterable[str]) -> bool:
    """Whether the log-odds of the features `shown`, with the bias, are above even."""
    log_odds = weights["bias"]
    for name in shown:
        log_odds += weights.get(name, 0.0)
    return log_odds > 0
