"""The part of a recipe that says which noise training texts get."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from training.recipe_file import RecipeValue

Share = Annotated[float, Field(ge=0, le=1)]


class AugmentationRecipe(RecipeValue):
    """With which probability a text of a pair of translations gets each kind of noise; a text may
    get several. What is held out to validate on gets none."""

    code_switching: Share = 0.0
    word_order: Share = 0.0
    casing: Share = 0.0
    punctuation: Share = 0.0
    typos: Share = 0.0
    # Of the words of such a text (for word order: of its windows, for punctuation: of its marks),
    # the share that changes.
    rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    # What `polygrain-train corpus dictionary` made, for code-switching.
    dictionary: Path | None = None

    @model_validator(mode="after")
    def _has_a_dictionary_where_it_needs_one(self) -> Self:
        if (self.code_switching > 0) != (self.dictionary is not None):
            raise ValueError(
                "code_switching and dictionary go together: give both, or leave both out"
            )
        return self
