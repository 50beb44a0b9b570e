"""What a caller wants of an alignment, checked once: the same over HTTP and on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.alignment.matching import Method
from service.alignment.scoring import Score
from service.alignment.words import WordMethod
from service.errors import InvalidInput, quote


class Level(StrEnum):
    """What is aligned."""

    # Two lists of texts in no order.
    TEXT = "text"
    # The sentences of two documents, in order.
    DOCUMENT = "document"
    # The words of sentences and of their translations.
    WORD = "word"


# The first of each is the default.
METHODS: dict[Level, tuple[str, ...]] = {
    Level.TEXT: tuple(Method),
    Level.DOCUMENT: ("monotonic",),
    Level.WORD: tuple(WordMethod),
}
SCORES: dict[Level, tuple[Score, ...]] = {
    Level.TEXT: tuple(Score),
    Level.DOCUMENT: tuple(Score),
    Level.WORD: (Score.COSINE,),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to align, and which pairs to leave out."""

    level: Level = Level.TEXT
    method: str = Method.ONE_TO_ONE
    score: Score = Score.MARGIN_RATIO
    k: int = 4
    threshold: float | None = None
    min_probability: float | None = None
    languages: tuple[str, str] | None = None
    max_merge: int = 4

    @classmethod
    def of(
        cls, level: str, method: str | None = None, score: str | None = None, **others: object
    ) -> Wanted:
        """The wish with the defaults of its level; InvalidInput where the level has no such one."""
        at = Level(level)
        return cls(
            at,
            _one_of("method", method, METHODS[at], at),
            Score(_one_of("score", score, SCORES[at], at)),
            **others,  # type: ignore[arg-type]  # checked by the models of the request and options
        )

    @property
    def source_language(self) -> str | None:
        """The language of the sources, where the caller told."""
        return self.languages[0] if self.languages else None

    @property
    def target_language(self) -> str | None:
        """The language of the targets, where the caller told."""
        return self.languages[1] if self.languages else None


def _one_of(field: str, value: str | None, allowed: tuple[str, ...], level: Level) -> str:
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise InvalidInput(
            f"{field} is {quote(str(value))}; at level {level} use one of {', '.join(allowed)}",
            field,
        )
    return value
