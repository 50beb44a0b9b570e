"""Recipes are TOML files that a pydantic model checks, field by field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import TrainingError

Positive = Annotated[int, Field(gt=0)]


class RecipeValue(BaseModel):
    """A part of a recipe: frozen, and no field that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeFile(RecipeValue):
    """A whole recipe, which stands in a file of its own."""

    # What messages call such a file.
    called: ClassVar[str] = "recipe"

    @classmethod
    def read(cls, file: Path, **overrides: object) -> Self:
        """Read a recipe from TOML; values of `overrides` that are not None replace its own.

        Raises TrainingError, with one line per wrong field.
        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TrainingError(f"{cls.called} {file} cannot be read: {error}") from None
        values |= {key: value for key, value in overrides.items() if value is not None}
        return cls.of(values, f"{cls.called} {file}")

    @classmethod
    def of(cls, values: Mapping[str, object], where: str) -> Self:
        """A recipe of values as TOML gives them; `where` they stand is said of wrong ones.

        Raises TrainingError, with one line per wrong field.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or cls.called}: {fault['msg']}"
                for fault in error.errors()
            )
            raise TrainingError(f"{where}: {faults}") from None
