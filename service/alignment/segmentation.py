"""Where the sentences and the words of a text are: ICU's boundaries, with offsets in characters.

ICU carries dictionaries for scripts that put no spaces between words: Thai, Lao, Khmer, Burmese,
Chinese and Japanese.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Thai and Lao put spaces where sentences end, and elsewhere; ICU breaks them at line ends alone.
# A piece that is shorter stays with what follows it.
_SHORTEST_PIECE = 20
_SOUTHEAST_SPACE = re.compile(r"(?<=[\u0e00-\u0eff])[ \u00a0]+(?=[\u0e00-\u0eff])")

# From here on ICU's kinds of word hold letters, digits or ideographs.
_FIRST_WORD_STATUS = 100

_iterators = threading.local()


class Span(NamedTuple):
    """Characters `start` up to `end` of a text, the end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Boundary:
    end: int
    status: int


def sentence_spans(text: str, language: str | None = None) -> list[Span]:
    """The sentences of `text` in order, without white space around them; none is blank.

    A line break ends a sentence. `language`, such as `de`, tells ICU which abbreviations end none;
    without it every full stop before a capital ends one.
    """
    spans = []
    start = 0
    for boundary in _boundaries("Sentence", text, language):
        # Unicode's rules leave an opening bracket with the sentence that it follows.
        end = boundary.end
        while end > start and unicodedata.category(text[end - 1]) in ("Ps", "Pi"):
            end -= 1
        for piece in _pieces(text, Span(start, end)):
            spans += _trimmed(text, piece)
        start = end
    spans += _trimmed(text, Span(start, len(text)))
    return spans


def word_spans(text: str, language: str | None = None) -> list[Span]:
    """The words of `text` in order: what holds a letter, a digit or an ideograph."""
    spans = []
    start = 0
    for boundary in _boundaries("Word", text, language):
        if boundary.status >= _FIRST_WORD_STATUS:
            spans.append(Span(start, boundary.end))
        start = boundary.end
    return spans


def _pieces(text: str, span: Span) -> Iterator[Span]:
    """A sentence of Thai or Lao cut at its spaces; any other as it is."""
    start = span.start
    for space in _SOUTHEAST_SPACE.finditer(text, span.start, span.end):
        if space.start() - start >= _SHORTEST_PIECE:
            yield Span(start, space.start())
            start = space.end()
    yield Span(start, span.end)


def _trimmed(text: str, span: Span) -> list[Span]:
    inner = text[span.start : span.end]
    start = span.start + len(inner) - len(inner.lstrip())
    end = span.start + len(inner.rstrip())
    return [Span(start, end)] if start < end else []


def _boundaries(kind: str, text: str, language: str | None) -> Iterator[_Boundary]:
    iterator = _iterator(kind, language)
    iterator.setText(text)
    # ICU counts in UTF-16 code units: a character beyond the first 65,536 is two of them.
    places = None
    if text and max(text) > "\uffff":
        units = 1 + (np.frombuffer(text.encode("utf-32-le"), "<u4") > 0xFFFF)
        places = np.zeros(int(units.sum()) + 1, np.int64)
        places[np.cumsum(units)] = np.arange(1, len(text) + 1)
    for end in iterator:
        yield _Boundary(end if places is None else int(places[end]), iterator.getRuleStatus())


def _iterator(kind: str, language: str | None) -> Any:  # noqa: ANN401  (the library has no types)
    """This thread's iterator: one may not be used by two at once."""
    kept: dict[tuple[str, str | None], Any] = _iterators.__dict__.setdefault("kept", {})
    key = (kind, language)
    if key not in kept:
        import icu  # 50 MB of libraries, which most requests do without

        # `ss` leaves out breaks after the abbreviations of the language. Regions change nothing,
        # and some subtags that callers may send are none to ICU.
        primary = re.split("[-_]", language)[0] if language else "und"
        locale = icu.Locale.forLanguageTag(f"{primary}-u-ss-standard")
        if len(kept) >= 64:  # languages are named by callers
            kept.clear()
        kept[key] = getattr(icu.BreakIterator, f"create{kind}Instance")(locale)
    return kept[key]
