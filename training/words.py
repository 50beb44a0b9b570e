"""The words of a tokenized text: which tokens belong to one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding

from training.augmentation.pieces import is_word_part, pieces, spaced_words


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text that have tokens, in its order."""

    texts: Sequence[str]
    # Of each token, the number of its word; -1 for special tokens and punctuation.
    of_tokens: Sequence[int]


def words_of(text: str, encoding: Encoding) -> Words:
    """The words of `text` as it was tokenized: runs of letters and digits between spaces and
    punctuation; where a script puts no spaces between words, each token is one."""
    spans = _spans(text)
    starts = [start for start, _ in spans]
    texts: list[str] = []
    of_tokens: list[int] = []
    last = (-1, -1)  # the span of the newest word
    for (start, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True):
        while start < end and text[start].isspace():
            start += 1
        if special or start == end or not is_word_part(text[start:end]):
            of_tokens.append(-1)
            continue
        if start >= last[1]:
            index = bisect_right(starts, start) - 1
            inside = index >= 0 and start < spans[index][1]
            last = spans[index] if inside else (start, end)
            texts.append(text[last[0] : last[1]])
        of_tokens.append(len(texts) - 1)
    return Words(texts, of_tokens)


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the words of scripts with spaces stand."""
    parts = pieces(text)
    places = set(spaced_words(parts))
    found, at = [], 0
    for place, part in enumerate(parts):
        if place in places:
            found.append((at, at + len(part)))
        at += len(part)
    return found
