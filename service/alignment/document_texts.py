"""A document as its caller gave it, sentences or one text to be split, and what its blocks read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.alignment.blocks import Block
from service.alignment.segmentation import Span, sentence_spans
from service.errors import InvalidInput

# Characters of scripts that put no space between sentences.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
)


@dataclass(frozen=True, slots=True)
class Document:
    """Sentences in order; `spans` tells where in `text` they were found, if they were."""

    sentences: tuple[str, ...]
    text: str | None = None
    spans: tuple[Span, ...] | None = None

    @classmethod
    def of(cls, given: str | Sequence[str], field: str, language: str | None = None) -> Document:
        """A list of sentences as it is, a text split; InvalidInput where a text has none."""
        if not isinstance(given, str):
            return cls(tuple(given))
        spans = sentence_spans(given, language)
        if not spans:
            raise InvalidInput(f"{field} is blank; send a text with at least one sentence", field)
        return cls(tuple(given[start:end] for start, end in spans), given, tuple(spans))

    def block(self, block: Block) -> str:
        """Neighbouring sentences as one text: as it stood, or joined as their script does."""
        if self.text is not None and self.spans is not None:
            return self.text[self.spans[block.start].start : self.spans[block.end - 1].end]
        return joined(self.sentences[block.start : block.end])


def joined(sentences: Iterable[str]) -> str:
    """Sentences as one text, with a space between two unless their script has none there."""
    text = ""
    for sentence in sentences:
        inner = sentence.strip()
        spaced = text and not (_UNSPACED.match(text[-1]) or _UNSPACED.match(inner[:1]))
        text += f" {inner}" if spaced else inner
    return text
