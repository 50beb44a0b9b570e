"""What a caller hands in and gets back: texts with their options, vectors with their facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.bundle import Granularity
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText, Row
from service.errors import InvalidInput, quote


@dataclass(frozen=True, slots=True)
class Unit:
    """One text to embed, and who decides its adapter.

    With neither granularity nor adapter the router decides. `origin` names the text in error
    messages, such as `inputs[3]` or `line 17`.
    """

    text: str
    origin: str
    granularity: Granularity | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """How one text was embedded."""

    # What the text was taken for, and the adapter that the bundle has for that.
    granularity: Granularity
    adapter: str
    # Tokens that the vector covers, special tokens included, overlap of windows not counted twice.
    tokens: int
    # Whether the end of the text is not in the vector.
    truncated: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vectors of some texts, in their order, with how each came about."""

    vectors: Vectors  # (texts, dimension)
    facts: tuple[Facts, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(fact.tokens for fact in self.facts)


@dataclass(frozen=True, slots=True)
class Options:
    """What a request wants of all its texts alike."""

    long_text: LongText = LongText.WINDOW
    # False: the mean of the token states as it is; with windows, the mean of their means.
    normalize: bool = True
    # Vectors of this request will be compared with each other: where the adapters that the texts
    # route to are not all comparable, the adapter of the coarsest granularity takes them all.
    comparable: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request in the form that the model takes: distinct rows, and which belong to which text."""

    rows: tuple[Row, ...]
    # For each text: its rows as indices into `rows`, and the tokens of content in each.
    parts: tuple[tuple[tuple[int, int], ...], ...]
    facts: tuple[Facts, ...]
    normalize: bool

    @property
    def tokens(self) -> int:
        """What the model has to read, without padding."""
        return sum(map(len, self.rows))

    def finish(self, vectors: Vectors) -> Encoded:
        """The vectors of the texts from those of the rows, (rows, dimension)."""
        texts = vectors[[parts[0][0] for parts in self.parts]]
        for place, parts in enumerate(self.parts):
            if len(parts) > 1:
                texts[place] = self._join(vectors, parts)
        return Encoded(texts, self.facts)

    def _join(self, vectors: Vectors, parts: tuple[tuple[int, int], ...]) -> Vectors:
        weights = np.array([tokens for _, tokens in parts], np.float32)
        mean: Vectors = weights @ vectors[[index for index, _ in parts]] / weights.sum()
        if not self.normalize:
            return mean
        norm = np.linalg.norm(mean)
        # Windows that cancel out leave a zero vector: zero, not NaN.
        unit: Vectors = mean / norm if norm > 0 else mean
        return unit


def check_text(text: str, origin: str) -> None:
    """Raise InvalidInput where `text` is nothing that can be embedded."""
    if not text.strip():
        raise InvalidInput(f"{origin} is {quote(text)}: an empty text has no vector", origin)
    if "\0" in text:
        raise InvalidInput(f"{origin} holds a NUL character (U+0000); remove it", origin)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{origin} holds a lone surrogate (U+{ord(text[error.start]):04X}) at character "
            f"{error.start}, which is no text; send well-formed Unicode",
            origin,
        ) from None
