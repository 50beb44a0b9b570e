"""What the suite asks of a model, be it a bundle on disk or a running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.bundle import Granularity
from training.evaluation.similarity import Vectors


@dataclass(frozen=True, slots=True)
class Model:
    """What a model says of itself."""

    name: str
    version: str
    dimension: int
    adapters: Mapping[str, Granularity]
    routing: Mapping[Granularity, str]
    # Whether texts can go through no adapter at all, and whether words can be read one by one.
    has_plain: bool
    has_tokens: bool


class Encoder(Protocol):
    """Embeds texts through any adapter of one model."""

    @property
    def model(self) -> Model:
        """The model, the same for as long as this lives."""

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """Unit rows, one for each text, through the adapter so named: (n, dim).

        None is the plain backbone, for models with `has_plain`. Texts are cut at the longest length
        that the adapter takes.
        """

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """For each sentence the mean of each word's sub-word states, zero for a word that has none:
        (words, dim), not normalised. For models with `has_tokens`."""
