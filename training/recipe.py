"""A recipe: everything that decides what a training run computes, in one TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.bundle import TEXT_GRANULARITIES, Granularity, Name
from training.adapters.kinds import (
    REDUCTION_FACTOR,
    Kind,
    Lora,
    Pfeiffer,
    Projection,
    averaged,
    resolved,
)
from training.augmentation.recipe import AugmentationRecipe
from training.corpora.scripts import scripts_of
from training.corpora.tsv import ANCHOR
from training.recipe_file import Positive, RecipeFile
from training.stage_recipe import (
    AdapterRecipe,
    AverageRecipe,
    ContrastiveRecipe,
    JointRecipe,
    ValidationRecipe,
)
from training.terms.recipe import OF_TOKENS, TAUGHT, Objective

__all__ = [
    "JOINT",
    "AdapterRecipe",
    "AverageRecipe",
    "ContrastiveRecipe",
    "JointRecipe",
    "Recipe",
    "Served",
    "ValidationRecipe",
]

# The stage, and the folder in a run, that trains adapters together.
JOINT = "joint"
_LATIN = frozenset({"LATIN"})


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
    # What a batch of translations holds: languages mixed, or a single one, drawn for each batch.
    batch_languages: Literal["mixed", "single"] = "mixed"
    precision: Literal["float32", "bfloat16"] = "float32"
    # Padded tokens that one forward pass may hold: bounds memory, changes no result.
    chunk_tokens: Positive = 8192
    # Widths besides the full one at which vectors are trained to be cut, rising.
    matryoshka_dimensions: tuple[Positive, ...] = ()
    validation: ValidationRecipe | None = None
    augmentation: AugmentationRecipe | None = None
    # A sentence encoder, by folder or hub name, for the objectives that learn from one; its vector
    # of a text is the mean of its last states.
    teacher: str | None = None
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
        self._check_objectives()
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
            if unknown := [each for each in adapter.mixed_with if each not in trained]:
                raise ValueError(
                    f"adapter {name} is mixed with {', '.join(unknown)}, not trained before"
                )
            if any(self.kind_of(each) != kind for each in adapter.mixed_with):
                raise ValueError(
                    f"adapter {name} is mixed with one of another kind: give all the same kind and "
                    "sizes"
                )
            if adapter.mixed_with and isinstance(kind, Lora):
                raise ValueError(
                    f"adapter {name}: the mean of lora adapters has another rank; leave out "
                    "mixed_with, and use [averages.NAME]"
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

    @property
    def stages(self) -> dict[str, ContrastiveRecipe]:
        """What is trained, in order, by the name of its folder in a run."""
        joint = {} if self.joint is None else {JOINT: self.joint}
        return {**self.adapters, **joint}

    def _check_objectives(self) -> None:
        for stage, plan in self.stages.items():
            where, named = f"{stage}.objectives", set(plan.objectives)
            trained = self.joint_adapters if stage == JOINT else (stage,)
            granularities = {self.adapters[each].granularity for each in trained}
            if (taught := named & TAUGHT) and self.teacher is None:
                raise ValueError(
                    f"{where}: {', '.join(sorted(taught))} learns from a teacher; name a sentence "
                    "encoder at the top of the recipe: teacher = FOLDER or hub name"
                )
            heads = [each for each in trained if isinstance(self.kind_of(each), Projection)]
            if (of_tokens := named & OF_TOKENS) and heads:
                raise ValueError(
                    f"{where}: {', '.join(sorted(of_tokens))} trains token states, and adapter "
                    f"{heads[0]} is a head on the vector of a whole text; give it another kind"
                )
            if Objective.TOKEN_ALIGNMENT in named and stage == JOINT:
                raise ValueError(
                    f"{where}: token_alignment needs translations of each other, and the joint "
                    "stage pairs names with their paragraphs; put it into an adapter's stage"
                )
            if Objective.CROPS in named and granularities == {Granularity.PHRASE}:
                raise ValueError(
                    f"{where}: crops needs texts of four words or more, and phrases have fewer; "
                    "use it for sentences or paragraphs"
                )
            if Objective.TRANSLITERATION in named and all(
                scripts_of(each) == _LATIN for each in self.languages
            ):
                raise ValueError(
                    f"{where}: transliteration needs a language that is not written in Latin "
                    f"letters, and the recipe has {', '.join(self.languages)}"
                )

    def kind_of(self, adapter: str) -> Kind:
        """The kind of a trained adapter, with its reduction factor."""
        return resolved(self.adapters[adapter].kind or self.kind, self.reduction_factor)

    def source_exponent_of(self, adapter: str) -> float:
        """How an adapter's pairs are drawn among the sources of a language."""
        own = self.adapters[adapter].source_exponent
        return self.source_exponent if own is None else own

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
