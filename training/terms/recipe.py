"""The part of a recipe that says what a stage minimises."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from training.objectives.contrastive import Direction
from training.recipe_file import Positive, RecipeValue

Temperature = Annotated[float, Field(gt=0)]


class Objective(StrEnum):
    """What a recipe may name; docs/objectives.md has the equation of each."""

    INFO_NCE = "info_nce"
    SOFT_PRIORITY = "soft_priority"
    SOFT_AVERAGE = "soft_average"
    MONOLINGUAL_PRIORITY = "monolingual_priority"
    MONOLINGUAL_AVERAGE = "monolingual_average"
    TCM = "tcm"
    TCM_AVERAGE = "tcm_average"
    EMBEDDING_MSE = "embedding_mse"
    SIMILARITY_MSE = "similarity_mse"
    SIMILARITY_MSE_AVERAGE = "similarity_mse_average"
    HARD_NEGATIVES = "hard_negatives"
    MASKED = "masked"
    TOKEN_ALIGNMENT = "token_alignment"
    TRANSLITERATION = "transliteration"
    CROPS = "crops"
    LATE_INTERACTION = "late_interaction"


# Those that learn from a teacher's vectors.
TAUGHT = frozenset(
    {
        Objective.SOFT_PRIORITY,
        Objective.SOFT_AVERAGE,
        Objective.MONOLINGUAL_PRIORITY,
        Objective.MONOLINGUAL_AVERAGE,
        Objective.TCM,
        Objective.TCM_AVERAGE,
        Objective.EMBEDDING_MSE,
        Objective.SIMILARITY_MSE,
        Objective.SIMILARITY_MSE_AVERAGE,
    }
)
# Those over token states, which a head on the pooled vector does not change.
OF_TOKENS = frozenset({Objective.MASKED, Objective.TOKEN_ALIGNMENT, Objective.LATE_INTERACTION})


class SoftRecipe(RecipeValue):
    """Soft labels of a teacher."""

    # Of the softmax over the teacher's cosines; the student's is the stage's.
    temperature: Temperature = 0.1


class NegativesRecipe(RecipeValue):
    """Hard negatives: right texts of a pool, whose left texts are near a pair's own."""

    # Of each pair.
    count: Positive = 4
    # Pairs that are looked through, drawn once.
    pool: Positive = 2048
    # A left text at this cosine or nearer may mean the same, and gives no negative.
    share: Annotated[float, Field(gt=0, lt=1)] = 0.95


class MaskingRecipe(RecipeValue):
    """Masked language modelling."""

    # Of a text's tokens, to be guessed.
    share: Annotated[float, Field(gt=0, le=1)] = 0.15
    # None: the tokenizer's [MASK] or <mask>.
    mask_token: str | None = None


class Partners(StrEnum):
    """Who says which words of a pair of texts are partners."""

    # The frozen backbone without adapter: words that are each other's nearest.
    BACKBONE = "backbone"
    # The same of the adapter's own states, as they are at that step.
    OWN = "own"
    # A dictionary's entries, and words that are written alike.
    DICTIONARY = "dictionary"
    # A statistical aligner that is fitted to the stage's pairs before its first step.
    ALIGNER = "aligner"


class TokensRecipe(RecipeValue):
    """Token alignment."""

    partners: Partners = Partners.BACKBONE
    # What `polygrain-train corpus dictionary` made.
    dictionary: Path | None = None
    temperature: Temperature = 0.1
    # How much nearness of places counts where partners are found: `mutual_partners`.
    diagonal: Annotated[float, Field(ge=0)] = 0.0
    # Pairs that the aligner is fitted to, of all languages together.
    pool: Positive = 200_000

    @model_validator(mode="after")
    def _has_a_dictionary_where_it_needs_one(self) -> Self:
        if (self.partners is Partners.DICTIONARY) != (self.dictionary is not None):
            raise ValueError(
                'partners = "dictionary" and a file as dictionary go together: '
                "give both, or leave both out"
            )
        if self.diagonal and self.partners not in {Partners.BACKBONE, Partners.OWN}:
            raise ValueError(
                f'partners = "{self.partners}" takes no diagonal: leave it out, or take '
                'partners = "backbone" or "own"'
            )
        return self


class CropsRecipe(RecipeValue):
    """Two crops of one text, against a queue of earlier ones (Contriever, Izacard et al., 2022)."""

    temperature: Temperature = 0.05
    # Keys of earlier crops that are kept.
    queue: Positive = 4096
    # How much of the key encoder stays in a step. Of 500,000 steps 0.9995 is the paper's; a stage
    # has a thousand.
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99
    # How long a crop is, of the text's words.
    shortest: Annotated[float, Field(gt=0, lt=1)] = 0.1
    longest: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError("shortest is above longest; turn them round")
        return self


class ObjectivesRecipe(RecipeValue):
    """What a stage minimises: the sum of `objectives`, each times its weight. The parameters of one
    that is not among them do nothing, so that a recipe switches by that line alone."""

    objectives: Annotated[
        dict[Objective, Annotated[float, Field(gt=0)]], Field(min_length=1, validate_default=True)
    ] = Field(default={Objective.INFO_NCE: 1.0})
    # Of every objective over vectors of texts that has none of its own.
    temperature: Temperature = 0.1
    # Of info_nce and late_interaction.
    direction: Direction = Direction.ONE_WAY
    # Of info_nce: what is taken off a partner's cosine; 0.3 in LaBSE.
    margin: Annotated[float, Field(ge=0)] = 0.0
    # info_nce in tiles of cosines, computed twice, so that no matrix of all pairs is held. Changes
    # no result.
    tiled: bool = False
    soft: SoftRecipe = SoftRecipe()
    negatives: NegativesRecipe = NegativesRecipe()
    masking: MaskingRecipe = MaskingRecipe()
    tokens: TokensRecipe = TokensRecipe()
    crops: CropsRecipe = CropsRecipe()
