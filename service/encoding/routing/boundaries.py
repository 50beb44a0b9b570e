"""Where one sentence ends inside a text and a second one starts, and whether a mark closes it."""

from __future__ import annotations

import re

from service.encoding.routing.full_stops import is_final_abbreviation, stop_divides
from service.encoding.routing.scripts import is_small

# Marks that end a sentence whatever follows: Unicode's Sentence_Terminal, less full stop and
# ellipsis (both doubtful, below) and Burmese U+104A, which is used as a comma.
_ALWAYS_FINAL = frozenset(
    "!?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u0df4\u0f0d\u0f0e\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944"
    "\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047"
    "\u2048\u2049\u2e2e\u2e3c\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8"
    "\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)

_MARKS = re.compile("[" + re.escape("".join(sorted(_ALWAYS_FINAL))) + ".…]+")
_GAP = re.compile(r"\W*")
_WIDE = frozenset("。！？｡")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]")
_CAPLESS = re.compile(
    "[\u05d0-\u05ea\u0620-\u064a\u0671-\u06d3\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_CLOSING = frozenset("\"'»”’›)]}」』）】〉》〕")
# 「…。」と and “……。”他说: what was quoted goes on.
_GOES_ON = re.compile("[とっていはがもをにのなでや、，：]|[^。！？，]{0,6}[说說问問道喊叫答笑]")

_INDIC_PIPE = re.compile("(?<=[\u0900-\u0dff])\\s?\\|+")
_GREEK_QUESTION = re.compile("(?<=[\u0370-\u03ff\u1f00-\u1fff]);")
_ARMENIAN_STOP = re.compile("(?<=[\u055a-\u0587»]):(?!\\w)")


def with_plain_marks(text: str) -> str:
    """`text` with the marks that end a sentence in one script only made those that always do."""
    if "|" in text:
        text = _INDIC_PIPE.sub("।", text)
    if ";" in text:
        text = _GREEK_QUESTION.sub("?", text)
    if ":" in text:
        text = _ARMENIAN_STOP.sub("։", text)
    return text


def second_sentence_start(text: str) -> int:
    """Where the second sentence of `text` starts; -1 where there is none."""
    for found in _MARKS.finditer(text):
        after = _GAP.match(text, found.end())
        following = after.end() if after else len(text)
        if following >= len(text):
            return -1
        if _divides(text, found, text[found.end() : following], following):
            return following
    return -1


def _divides(text: str, found: re.Match[str], gap: str, following: int) -> bool:
    """Whether the marks `found` end a sentence and another one starts at `following`."""
    mark, first = found.group(), text[following]
    quoted = gap[:1] in _CLOSING
    spaced = any(character.isspace() for character in gap)
    last = mark[-1]
    if last in _WIDE or (last in "!?" and _UNSPACED.match(first)):
        return not (quoted and _GOES_ON.match(text, following)) and gap[:1] not in ("、", "，")
    if mark.strip(".…"):
        if mark.isascii() and not spaced:
            return False
        if is_small(first):
            return not quoted and (text.islower() or "¿" in gap or "¡" in gap)
        return gap[:1] != ")" and gap[:1] not in (",", "،")
    if "…" in mark or len(mark) > 1:
        if is_small(first) or not spaced:
            return False
        return len(text[: found.start()].split()) > 2
    if not spaced:
        before = text[found.start() - 1 : found.start()]
        # "Node.js", "3.14" go on; a stop between two letters that know no capitals does not.
        return bool(_CAPLESS.match(before) and _CAPLESS.match(first))
    return stop_divides(text, found.start(), following)


def ends_sentence(text: str) -> bool:
    """Whether `text` closes with a mark that ends a sentence, not with an abbreviation's stop."""
    end = len(text) - 1
    while end >= 0 and not text[end].isalnum():
        mark = text[end]
        if mark in _ALWAYS_FINAL:
            return True
        if mark == "…":
            return False
        if mark == ".":
            # An ellipsis leaves the question open.
            return text[end - 1 : end] != "." and not is_final_abbreviation(text, end)
        end -= 1
    return False
