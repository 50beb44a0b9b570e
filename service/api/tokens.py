"""Texts where other services also take token numbers, which mean nothing to this tokenizer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.api.schemas import EACH, ONE, TOKENS, TextList


def _refuse(value: object) -> Any:  # noqa: ANN401  (it never returns)
    raise PydanticCustomError(
        "token_numbers",
        "it holds token numbers, which are another model's; send texts (in langchain-openai set "
        "check_embedding_ctx_length=False)",
    )


def kind_of(value: object) -> str:
    """Which branch of `NoTokens` a value is meant for."""
    if not isinstance(value, list):
        return ONE
    first = value[0] if value else None
    return TOKENS if isinstance(first, int | list) and not isinstance(first, bool) else EACH


_Refused = Annotated[str, BeforeValidator(_refuse), WithJsonSchema({"not": {}})]

# A text, or a list of texts.
NoTokens = Annotated[
    Annotated[str, Tag(ONE)] | Annotated[TextList, Tag(EACH)] | Annotated[_Refused, Tag(TOKENS)],
    Discriminator(kind_of),
]
