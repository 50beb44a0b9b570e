"""The parts of a recipe that are stages of its run: adapters, their averages, the joint stage."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from models.bundle import Granularity, Name
from training.adapters.kinds import Kind
from training.recipe_file import Positive, RecipeValue
from training.terms.recipe import ObjectivesRecipe


class ContrastiveRecipe(ObjectivesRecipe):
    """How a stage learns from pairs that mean the same."""

    steps: Positive
    # Pairs that are each other's negatives.
    batch_pairs: Annotated[int, Field(ge=2)]
    # Batches whose gradients are averaged into one step.
    accumulation_steps: Positive = 1
    # Hold the activations of one chunk at a time, for one more forward pass: then `chunk_tokens`
    # bounds them, and a larger batch costs its vectors and cosines alone. Changes no result.
    gradient_cache: bool = False
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    # The weight of the distance, 1 - cosine, between the left texts' vectors and those that the
    # plain backbone gives them: keeps adapters in its space, and so comparable with each other.
    anchor: Annotated[float, Field(ge=0)] = 0.0


class AdapterRecipe(ContrastiveRecipe):
    """How one adapter is trained. One of granularity `word` is for token states and is never routed
    to."""

    granularity: Granularity
    # None: the recipe's.
    kind: Kind | None = None
    # Longest text in tokens, special ones included; longer texts are cut in training.
    max_tokens: Annotated[int, Field(ge=3)]
    # Another adapter of the recipe whose trained weights this one starts from.
    start_from: Name | None = None
    # Adapters trained before it, and the share of each in its weights at the end.
    mixed_with: dict[Name, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    # Within a language, among its sources. None: the recipe's.
    source_exponent: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _keeps_a_share_for_itself(self) -> Self:
        if sum(self.mixed_with.values()) >= 1:
            raise ValueError("mixed_with: the shares leave nothing of the adapter itself")
        return self

    @property
    def pairs(self) -> Granularity:
        """The granularity of the pairs that it learns from: words are learned from sentences."""
        return Granularity.SENTENCE if self.granularity is Granularity.WORD else self.granularity


class AverageRecipe(RecipeValue):
    """An adapter that is not trained: the weighted mean of trained ones, as they are at the end."""

    granularity: Granularity
    max_tokens: Annotated[int, Field(ge=3)]
    # Trained adapters of one kind.
    of: Annotated[tuple[Name, ...], Field(min_length=2)]
    # Of each, summing to 1. None: equal parts.
    shares: tuple[float, ...] | None = None

    @property
    def weights(self) -> tuple[float, ...]:
        """The share of each adapter."""
        return self.shares or (1 / len(self.of),) * len(self.of)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.of)) != len(self.of):
            raise ValueError("of: name each adapter once; shares weigh them")
        if self.shares is not None and (
            len(self.shares) != len(self.of) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6)
        ):
            raise ValueError(f"shares: give {len(self.of)} numbers that sum to 1")
        return self


class JointRecipe(ContrastiveRecipe):
    """How adapters are trained together, after each by itself, on pairs of different granularity
    among pairs of their own. Each text goes through the first adapter of its granularity."""

    # Those that are trained; the others stay as they are. None: the first of each granularity.
    adapters: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    # The share of a batch that is pairs of different granularity; the rest are translations of one
    # granularity, in equal parts from those of the adapters that are trained.
    cross_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    # Besides rows under one alignment id, cut sentences and phrases from paragraphs.
    excerpts: bool = True


class ValidationRecipe(RecipeValue):
    """What is held out of each stage's pairs, and how often the stage is measured on it."""

    # Held out in equal parts from the languages, as far as a tenth of each goes.
    pairs: Annotated[int, Field(ge=2)]
    every_steps: Positive
    # The stage's result is the state with the best accuracy, not the last.
    keep_best: bool = False
    # Keep all that the held-out entities say out of every stage, as a joint stage needs, where
    # there is none too: then adapters with and without one differ by that stage alone.
    entities: bool = False
