"""What goes into a collection and what comes out of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import ClientGone
from service.retrieval.index import IndexWish

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]

Score = Literal["cosine", "csls"]

# The language of a text that nobody could tell: BCP 47's code for "undetermined".
UNDETERMINED = "und"


@dataclass(frozen=True, slots=True)
class Space:
    """What made a vector: an adapter of one version of a bundle, or, with none, the caller."""

    bundle: str | None = None
    version: str | None = None
    adapter: str | None = None

    def __str__(self) -> str:
        if self.bundle is None:
            return "the caller's own vectors"
        return f"{self.bundle} {self.version}, adapter {self.adapter}"


OWN = Space()

# Decimals of scores in an answer: float32 holds no more.
SCORE_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What a collection is made with."""

    dimensions: int
    # Which adapter reads its texts; auto: each that of its own granularity.
    granularity: str = "auto"
    index: IndexWish = field(default_factory=IndexWish)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document on its way in, beside its vector."""

    id: str
    text: str | None
    language: str
    granularity: str | None
    metadata: bytes  # a JSON object
    space: Space


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is stored. Its key is its own: a later version of it gets another."""

    key: int
    id: str
    text: str | None
    language: str
    granularity: str | None
    metadata: bytes  # a JSON object
    space: int  # number of its space


@dataclass(frozen=True, slots=True)
class Found:
    """A document with its score for one query."""

    document: Document
    score: float
    vector: Floats | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """The documents found for one query, best first, by their ids alone."""

    ids: list[str]
    scores: list[float]


@dataclass(frozen=True, slots=True)
class Written:
    """What an upsert did, and the collection's sequence number since."""

    inserted: int
    replaced: int
    sequence: int


class Cancel:
    """A flag that long work looks at between its steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask for the end."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ClientGone where the end was asked for."""
        if self.is_set():
            raise ClientGone("the work was cancelled")
