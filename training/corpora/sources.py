"""The sources that the project knows: their terms, whom to thank, and where they come from."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_FILE = Path(__file__).with_name("sources.toml")

_Text = Annotated[str, Field(min_length=1)]


class Source(BaseModel):
    """One source of translations; `origin` holds `repository@commit`, on GitHub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pairs", "wide"]
    licence: _Text
    licence_class: Literal[
        "permissive", "attribution", "share-alike", "copyleft (file)", "mixed open"
    ]
    attribution: _Text
    origin: Annotated[tuple[Annotated[str, Field(pattern=r"^[^/@ ]+/[^/@ ]+@\S+$")], ...], ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where a browser or git finds each origin."""
        return tuple(f"https://github.com/{each.split('@')[0]}" for each in self.origin)


@cache
def known_sources() -> MappingProxyType[str, Source]:
    """Every source of `sources.toml` by its name."""
    values = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return MappingProxyType(TypeAdapter(dict[str, Source]).validate_python(values))
