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


_Address = Annotated[str, Field(pattern=r"^https?://\S+$")]


class Download(BaseModel):
    """How a source is fetched: addresses of files, and who reads them.

    In addresses of `each`, `{code}` stands for the source's own code of a language and `{pair}`
    for that code and `en` in alphabetical order, joined by `-`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    converter: str  # of `converters.CONVERTERS`
    once: tuple[_Address, ...] = ()
    each: tuple[_Address, ...] = ()
    # What the files of `once` hold, where it is known.
    once_languages: tuple[str, ...] = ()
    # Our codes of its languages; `ours=theirs` where the source has another.
    languages: tuple[Annotated[str, Field(pattern=r"^[A-Za-z-]+(=[A-Za-z_-]+)?$")], ...]

    @property
    def codes(self) -> dict[str, str]:
        """The source's own code of each language, by ours."""
        return {each.split("=")[0]: each.split("=")[-1] for each in self.languages}


class Source(BaseModel):
    """One source of translations; `origin` holds `repository@commit`, on GitHub, or an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pairs", "wide"]
    licence: _Text
    licence_class: Literal[
        "permissive", "attribution", "share-alike", "copyleft (file)", "mixed open"
    ]
    attribution: _Text
    origin: tuple[Annotated[str, Field(pattern=r"^(https://\S+|[^/@ ]+/[^/@ ]+@\S+)$")], ...]
    download: Download | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where a browser or git finds each origin."""
        return tuple(
            each if each.startswith("https://") else f"https://github.com/{each.split('@')[0]}"
            for each in self.origin
        )


@cache
def known_sources() -> MappingProxyType[str, Source]:
    """Every source of `sources.toml` by its name."""
    values = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return MappingProxyType(TypeAdapter(dict[str, Source]).validate_python(values))
