"""What requests to align may hold, and what their answers hold. See `schemas` for both kinds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, StringConstraints

from service.api.schemas import (
    GRANULARITY_HELP,
    RequestModel,
    ResponseModel,
    TextFacts,
    TextGranularity,
    TextOrTexts,
    Usage,
)

# Sentences that may be taken together, on either side. The work grows with its square.
MOST_MERGED = 8

LevelName = Literal["text", "document", "word"]
MethodName = Literal["one_to_one", "mutual", "best", "optimal", "monotonic", "argmax", "itermax"]
ScoreName = Literal["margin_ratio", "margin_distance", "cosine", "csls"]
# As in a bundle's manifest.
LANGUAGE_PATTERN = r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$"
LanguageName = Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN)]


class AlignRequest(RequestModel):
    """Two sides, to find which texts, sentences or words of one translate those of the other."""

    source: TextOrTexts = Field(
        description="A list of texts; or one text, which is split into sentences, but at level "
        "`word` is one sentence.",
        examples=[["The cat sleeps.", "It rains."]],
    )
    target: TextOrTexts = Field(examples=[["Es regnet.", "Die Katze schläft."]])
    level: LevelName = Field(
        "text",
        description="`text`: whole texts, in no order. `document`: sentences of two documents, in "
        "order, of which neighbours may be merged. `word`: the words of each source and of the "
        "target at the same place.",
    )
    method: MethodName | None = Field(
        None,
        description="How pairs are chosen. At level text `one_to_one` (default), `mutual`, `best` "
        "or `optimal`; at level document `monotonic`; at level word `argmax` (default), `itermax` "
        "or `optimal`.",
    )
    score: ScoreName | None = Field(
        None,
        description="What pairs are ranked by: `margin_ratio` by default; at level word `cosine`.",
    )
    k: int = Field(
        4,
        ge=1,
        le=1_000,
        description="Neighbours that a margin is measured over; at most the length of a list.",
    )
    threshold: FiniteFloat | None = Field(
        None, description="Pairs with a lower score are left out. null: none is."
    )
    min_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Pairs that are less likely are left out; for bundles that are calibrated.",
    )
    languages: Annotated[list[LanguageName], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="The languages of source and target, for probabilities and for the boundaries "
        "of sentences and words.",
        examples=[["en", "de"]],
    )
    max_merge: int = Field(
        4,
        ge=1,
        le=MOST_MERGED,
        description="At level document, how many neighbouring sentences may be taken as one.",
    )
    granularity: TextGranularity = Field(
        "auto",
        description=f"{GRANULARITY_HELP} At level document `auto` is `sentence`, and merged "
        "sentences are always read as a paragraph.",
    )


class Sides(ResponseModel):
    """Something for either list."""

    source: list[int]
    target: list[int]


class SidesFacts(ResponseModel):
    """How the texts of either list were embedded."""

    source: list[TextFacts]
    target: list[TextFacts]


class SidesSpans(ResponseModel):
    """Where in a text its sentences or words are: characters from and up to."""

    source: list[tuple[int, int]] | None
    target: list[tuple[int, int]] | None


class WordLink(ResponseModel):
    """Two words that belong together, by index into the words of their sentences."""

    source: int
    target: int
    source_span: tuple[int, int]
    target_span: tuple[int, int]
    score: float
    probability: float | None


class AlignedPair(ResponseModel):
    """Texts that belong together, by index; at level word, a sentence and its translation."""

    source: list[int]
    target: list[int]
    # Not at level word.
    score: float = 0.0
    cosine: float = 0.0
    probability: float | None = None
    # At level document: what both sides were read as.
    granularity: str | None = None
    # At level word.
    words: SidesSpans | None = None
    links: list[WordLink] | None = None


class AlignResponse(ResponseModel):
    """Pairs: of texts the best first, of documents in order, of words as they were sent.

    `adapter` is null where texts took different ones.
    """

    model: str
    granularity: str | None
    adapter: str | None
    pairs: list[AlignedPair]
    # Not at level word.
    unaligned: Sides | None = None
    items: SidesFacts
    # Where a side was one text that was split into sentences.
    sentences: SidesSpans | None = None
    usage: Usage
