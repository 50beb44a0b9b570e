"""Which adapter a text belongs to, told from its characters alone.

The classes are DESIGN.md's. A `phrase` is a name or term with no sentence in it, a `sentence` is
one sentence, a `paragraph` is more than one, or one that is too long for the sentence adapter. How
the decision is made, and how often it is right, is in docs/routing.md.
"""

from __future__ import annotations

import re

from models.bundle import Adapter, Granularity, Manifest
from service.encoding.routing.boundaries import (
    ends_sentence,
    second_sentence_start,
    with_plain_marks,
)
from service.encoding.routing.markless import is_sentence_without_mark, is_several_without_mark
from service.encoding.routing.scripts import (
    LONGEST_SENTENCE,
    MAX_SENTENCE_CHARACTERS,
    Script,
    script_of,
)
from service.errors import InvalidInput


def route(text: str) -> Granularity:
    """The granularity of `text`: PHRASE, SENTENCE or PARAGRAPH, by its characters alone.

    Pure and quick (some microseconds for a short text). Raises InvalidInput where `text` is empty
    or white space only.
    """
    text = text.strip()
    if not text:
        raise InvalidInput(
            "text is empty or white space only; give at least one character that is not a space"
        )
    # Too long for one sentence of any script: not worth reading.
    if len(text) > LONGEST_SENTENCE:
        return Granularity.PARAGRAPH

    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        if _BLANK_LINE.search(text) or _is_list(lines):
            return Granularity.PARAGRAPH
        text = " ".join(lines)

    script = script_of(text)
    if len(text) > MAX_SENTENCE_CHARACTERS[script]:
        return Granularity.PARAGRAPH

    if not text.isascii():
        text = with_plain_marks(text)
    ends = ends_sentence(text)
    second = second_sentence_start(text)
    if second >= 0 and (
        ends
        or is_sentence_without_mark(text[:second], script)
        or is_sentence_without_mark(text[second:], script)
    ):
        return Granularity.PARAGRAPH

    if not ends and not is_sentence_without_mark(text, script):
        return Granularity.PHRASE
    # Whatever mark is at its end, one between two sentences of Thai or Lao is rare.
    if script is Script.SOUTHEAST and is_several_without_mark(text):
        return Granularity.PARAGRAPH
    return Granularity.SENTENCE


def word_adapter(manifest: Manifest) -> Adapter:
    """The adapter that words are compared by: of granularity word, or else that of sentences."""
    of_words = (one for one in manifest.adapters if one.granularity is Granularity.WORD)
    return next(of_words, manifest.adapter(manifest.routing[Granularity.SENTENCE]))


_ITEM = re.compile(r"(?:[-*•‣◦▪·–—]|\(?\w{1,3}[.)])\s+\S")
_BLANK_LINE = re.compile(r"\n\s*\n")


def _is_list(lines: list[str]) -> bool:
    """Whether lines of text stand apart, rather than being one text that was wrapped."""
    if sum(bool(_ITEM.match(line)) for line in lines) > 1 or len(lines) > 2:
        # A wrapped text fills its lines: all but the last are about as long as the longest.
        longest = max(map(len, lines))
        wrapped = longest > 40 and all(2 * len(line) > longest for line in lines[:-1])
        return not wrapped or any(_ITEM.match(line) for line in lines[1:])
    return False
