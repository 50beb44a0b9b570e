"""A backbone recipe: everything that decides what a student becomes, in one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.corpora.tsv import ANCHOR
from training.recipe_file import Positive, RecipeFile, RecipeValue

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]


class VocabularyRecipe(RecipeValue):
    """How the subword vocabulary is trained."""

    size: Annotated[int, Field(ge=300, le=250_000)] = 100_000
    # Characters of text per language; dense scripts count double.
    characters: Positive = 1_200_000
    further_characters: Positive = 150_000
    source_weights: dict[str, Weight] = Field(default_factory=dict)


class SamplingRecipe(RecipeValue):
    """How pairs are drawn; see `pairs.Sampling`."""

    language_exponent: Share = 0.5
    # Of a language that is not among the recipe's `languages`.
    further_weight: Weight = 0.35
    source_weights: dict[str, Weight] = Field(default_factory=dict)
    granularity_weights: dict[Literal["phrase", "sentence", "paragraph"], Weight] = Field(
        default_factory=dict
    )
    english_share: Share = 0.7


class StageRecipe(RecipeValue):
    """What both stages have in common."""

    steps: Positive
    batch_pairs: Annotated[int, Field(ge=2)]
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    # The rate falls on a line to zero over this last share of the steps.
    decay_share: Share = 1.0
    max_tokens: Annotated[int, Field(ge=3)] = 128
    temperature: Rate = 0.05
    # The weight of the terms that pull both sides towards the teacher's vector of the English one.
    distillation: Weight = 1.0
    distillation_temperature: Rate = 0.05
    # The weight of the plain distance to the teacher's vector, 1 - cosine, of both sides.
    cosine_distillation: Weight = 0.0
    # Pairs that are held out and validated on, and how often.
    validation_pairs: Annotated[int, Field(ge=2)] = 1000
    validation_every: Positive = 100
    sampling: SamplingRecipe = SamplingRecipe()


class StaticRecipe(StageRecipe):
    """The static stage: one vector per token, a text is their sum."""

    learning_rate: Rate = 0.03
    initial_deviation: Rate = 0.05


class ContextRecipe(StageRecipe):
    """The context stage: transformer layers over the static table."""

    layers: Positive = 3
    heads: Positive = 6
    feed_forward: Positive = 1024
    # Of the layers' matrices (Muon), of their norms and biases (Adam), of the token table (Adam).
    matrix_learning_rate: Rate = 1e-3
    vector_learning_rate: Rate = 1e-3
    table_learning_rate: Weight = 1e-3
    chunk_tokens: Positive = 2048
    # Turn the finished student's vectors onto their principal axes, the widest first, so that they
    # may be cut: no cosine of whole vectors changes.
    order_dimensions: bool = True
    precision: Literal["float32", "bfloat16"] = "bfloat16"


class BackboneRecipe(RecipeFile):
    """A student: its teacher, languages, vocabulary and stages."""

    teacher: str
    teacher_max_tokens: Annotated[int, Field(ge=3)] = 192
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    # Learnt beside the others with less of everything.
    further_languages: tuple[str, ...] = ()
    vocabulary: VocabularyRecipe = VocabularyRecipe()
    # Tokens of a row that are kept at all.
    max_tokens: Annotated[int, Field(ge=3)] = 192
    static: StaticRecipe
    context: ContextRecipe
    seed: int = 1

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [*self.languages, *self.further_languages]
        if ANCHOR not in self.languages or len(set(names)) != len(names):
            raise ValueError(f"languages: name each once, {ANCHOR} among `languages`")
        return self

    def language_weights(self, sampling: SamplingRecipe) -> Mapping[str, float]:
        """The sampling weight of every further language."""
        return dict.fromkeys(self.further_languages, sampling.further_weight)
