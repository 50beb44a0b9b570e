"""A recipe: everything that decides what a training run computes, in one TOML file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.bundle import TEXT_GRANULARITIES, Granularity, Name
from training.adapters.kinds import REDUCTION_FACTOR, Kind, Pfeiffer, Projection, averaged, resolved
from training.augmentation.recipe import AugmentationRecipe
from training.corpora.tsv import ANCHOR
from training.objectives.contrastive import Direction
from training.recipe_file import Positive, RecipeFile, RecipeValue

# The stage, and the folder in a run, that trains adapters together.
JOINT = "joint"


class ContrastiveRecipe(RecipeValue):
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
    temperature: Annotated[float, Field(gt=0)] = 0.1
    direction: Direction = Direction.ONE_WAY
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


@dataclass(frozen=True, slots=True)
class Served:
    """An adapter of the bundle, trained or averaged."""

    granularity: Granularity
    max_tokens: int
    kind: Kind


class Recipe(RecipeFile):
    """A run: one backbone, one corpus, one or more adapters in the order they are trained, and
    averages of them."""

    backbone: str
    # Round the backbone to float16 values first, so that the bundle stores half the bytes.
    half_weights: bool = False
    # What the adapters are, where one does not say otherwise of itself.
    kind: Kind = Pfeiffer()
    reduction_factor: Annotated[float, Field(ge=1)] = REDUCTION_FACTOR
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    language_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    # Within a language, among its sources; 1 follows the data.
    source_exponent: Annotated[float, Field(ge=0, le=1)] = 1.0
    excluded_sources: tuple[str, ...] = ()
    precision: Literal["float32", "bfloat16"] = "float32"
    # Padded tokens that one forward pass may hold: bounds memory, changes no result.
    chunk_tokens: Positive = 8192
    # Widths besides the full one at which vectors are trained to be cut, rising.
    matryoshka_dimensions: tuple[Positive, ...] = ()
    validation: ValidationRecipe | None = None
    augmentation: AugmentationRecipe | None = None
    seed: int = 1
    adapters: Annotated[dict[Name, AdapterRecipe], Field(min_length=1)]
    averages: dict[Name, AverageRecipe] = Field(default_factory=dict)
    joint: JointRecipe | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if ANCHOR in self.languages or len(set(self.languages)) != len(self.languages):
            raise ValueError(f"languages: name each once, without {ANCHOR}, which all pair with")
        if list(self.matryoshka_dimensions) != sorted(set(self.matryoshka_dimensions)):
            raise ValueError("matryoshka_dimensions: name each once, in rising order")
        self._check_adapters()
        self._check_averages()
        if self.joint is not None:
            if len(self.by_granularity) < 2:
                raise ValueError("joint: it needs adapters of two granularities")
            if unknown := sorted(set(self.joint_adapters) - set(self.by_granularity.values())):
                raise ValueError(
                    f"joint: {', '.join(unknown)} is not the first adapter of a granularity; "
                    f"those are {', '.join(self.by_granularity.values())}"
                )
            if JOINT in self.adapters or JOINT in self.averages:
                raise ValueError(f"adapter {JOINT}: the name is the joint stage's")
        return self

    def _check_adapters(self) -> None:
        trained: set[str] = set()
        for name, adapter in self.adapters.items():
            kind = self.kind_of(name)
            _check_word(name, adapter.granularity, kind)
            start = adapter.start_from
            if start is not None and start not in trained:
                raise ValueError(f"adapter {name} starts from {start}, which is not trained before")
            if start is not None and self.kind_of(start) != kind:
                raise ValueError(
                    f"adapter {name} starts from {start}, which is of another kind: "
                    "give both the same kind and sizes"
                )
            trained.add(name)

    def _check_averages(self) -> None:
        for name, average in self.averages.items():
            if name in self.adapters:
                raise ValueError(f"averages: {name} is the name of a trained adapter; use another")
            if unknown := [each for each in average.of if each not in self.adapters]:
                raise ValueError(
                    f"averages: {name} is of {', '.join(unknown)}; "
                    f"the trained adapters are {', '.join(self.adapters)}"
                )
            kind = self.kind_of(average.of[0])
            if any(self.kind_of(each) != kind for each in average.of):
                raise ValueError(
                    f"averages: {name} is of adapters of different kinds or sizes, which have no "
                    "mean"
                )
            _check_word(name, average.granularity, kind)

    def kind_of(self, adapter: str) -> Kind:
        """The kind of a trained adapter, with its reduction factor."""
        return resolved(self.adapters[adapter].kind or self.kind, self.reduction_factor)

    @property
    def served(self) -> dict[Name, Served]:
        """What the bundle holds, in its order: the trained adapters, then the averages."""
        found = {
            name: Served(plan.granularity, plan.max_tokens, self.kind_of(name))
            for name, plan in self.adapters.items()
        }
        for name, plan in self.averages.items():
            kind = averaged(self.kind_of(plan.of[0]), len(plan.of))
            found[name] = Served(plan.granularity, plan.max_tokens, kind)
        return found

    @property
    def kinds(self) -> dict[Name, Kind]:
        """The kind of every adapter of the bundle."""
        return {name: each.kind for name, each in self.served.items()}

    @property
    def by_granularity(self) -> dict[Granularity, Name]:
        """The first trained adapter of each granularity that a text can be of."""
        found: dict[Granularity, Name] = {}
        for name, adapter in self.adapters.items():
            if adapter.granularity in TEXT_GRANULARITIES:
                found.setdefault(adapter.granularity, name)
        return found

    @property
    def joint_adapters(self) -> tuple[Name, ...]:
        """The adapters that the joint stage trains."""
        if self.joint is None:
            return ()
        return self.joint.adapters or tuple(self.by_granularity.values())


def _check_word(name: str, granularity: Granularity, kind: Kind) -> None:
    if granularity is Granularity.WORD and isinstance(kind, Projection):
        raise ValueError(
            f"adapter {name}: a projection head changes the vector of a whole text, and a word "
            "adapter serves token states; give it another kind"
        )
