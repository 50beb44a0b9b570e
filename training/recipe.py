"""A recipe: everything that decides what a training run computes, in one TOML file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.bundle import TEXT_GRANULARITIES, Granularity, Name
from training.augmentation.recipe import AugmentationRecipe
from training.corpora.tsv import ANCHOR
from training.objectives import Direction
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
    """How one adapter is trained."""

    granularity: Granularity
    # Longest text in tokens, special ones included; longer texts are cut in training.
    max_tokens: Annotated[int, Field(ge=3)]
    # Another adapter of the recipe whose trained weights this one starts from.
    start_from: Name | None = None


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


class Recipe(RecipeFile):
    """A run: one backbone, one corpus, one or more adapters in the order they are trained."""

    backbone: str
    # Round the backbone to float16 values first, so that the bundle stores half the bytes.
    half_weights: bool = False
    reduction_factor: Annotated[float, Field(ge=1)] = 16
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
    joint: JointRecipe | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if ANCHOR in self.languages or len(set(self.languages)) != len(self.languages):
            raise ValueError(f"languages: name each once, without {ANCHOR}, which all pair with")
        if list(self.matryoshka_dimensions) != sorted(set(self.matryoshka_dimensions)):
            raise ValueError("matryoshka_dimensions: name each once, in rising order")
        trained: set[str] = set()
        for name, adapter in self.adapters.items():
            if adapter.granularity not in TEXT_GRANULARITIES:
                raise ValueError(f"adapter {name}: granularity {adapter.granularity} has no pairs")
            if adapter.start_from is not None and adapter.start_from not in trained:
                raise ValueError(
                    f"adapter {name} starts from {adapter.start_from}, which is not trained before"
                )
            trained.add(name)
        if self.joint is not None:
            if len(self.by_granularity) < 2:
                raise ValueError("joint: it needs adapters of two granularities")
            if unknown := sorted(set(self.joint_adapters) - set(self.by_granularity.values())):
                raise ValueError(
                    f"joint: {', '.join(unknown)} is not the first adapter of a granularity; "
                    f"those are {', '.join(self.by_granularity.values())}"
                )
            if JOINT in self.adapters:
                raise ValueError(f"adapter {JOINT}: the name is the joint stage's")
        return self

    @property
    def by_granularity(self) -> dict[Granularity, Name]:
        """The first adapter of each granularity."""
        found: dict[Granularity, Name] = {}
        for name, adapter in self.adapters.items():
            found.setdefault(adapter.granularity, name)
        return found

    @property
    def joint_adapters(self) -> tuple[Name, ...]:
        """The adapters that the joint stage trains."""
        if self.joint is None:
            return ()
        return self.joint.adapters or tuple(self.by_granularity.values())
