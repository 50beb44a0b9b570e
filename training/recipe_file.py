"""Recipes are TOML files that a pydantic model checks, field by field."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import TrainingError

Positive = Annotated[int, Field(gt=0)]


class RecipeValue(BaseModel):
    """A part of a recipe: frozen, and no field that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeFile(RecipeValue):
    """A whole recipe, which stands in a file of its own."""

    @classmethod
    def read(cls, file: Path, **overrides: object) -> Self:
        """Read a recipe from TOML; values of `overrides` that are not None replace its own.

        Raises TrainingError, with one line per wrong field.
        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TrainingError(f"recipe {file} cannot be read: {error}") from None
        values |= {key: value for key, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}"
                for fault in error.errors()
            )
            raise TrainingError(f"recipe {file}: {faults}") from None
