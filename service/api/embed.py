"""POST /embed: texts in, vectors out."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request, Response

from models.bundle import Granularity, Manifest
from service.api.requests import (
    check_sizes,
    facts_json,
    json_response,
    read,
    service_of,
    unless_gone,
)
from service.api.schemas import TEXT_ERRORS, EmbedRequest, EmbedResponse, operation
from service.encoding.encoder import Encoded, Options, Unit
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.errors import InvalidInput, quote
from service.settings import Settings
from service.telemetry import count

router = APIRouter(tags=["texts"])


@router.post("/embed", **operation(EmbedRequest, EmbedResponse, *TEXT_ERRORS))
async def embed(request: Request) -> Response:
    """Embed texts, each by the adapter of its granularity.

    Vectors of different adapters are comparable only where `/info` lists them together.
    """
    service = service_of(request)
    body = await read(request, EmbedRequest, service.settings)
    units = _units(body, service.engine.encoder.manifest, service.settings)
    count(request, items=len(units))
    options = Options(LongText(body.long_text), body.normalize)
    encoded = await unless_gone(request, service.engine.encode(units, options))
    count(request, tokens=encoded.tokens)
    return json_response(_answer(encoded, service.engine.encoder.manifest, body.encoding))


def _units(body: EmbedRequest, manifest: Manifest, settings: Settings) -> list[Unit]:
    is_one = isinstance(body.inputs, str)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    if not texts:
        raise InvalidInput("inputs is an empty list; send at least one text", "inputs")
    check_sizes({"inputs": texts}, settings)
    granularities = _granularities(body, len(texts))
    _check_adapter(body, manifest)
    return [
        Unit(text, "inputs" if is_one else f"inputs[{index}]", granularity, body.adapter)
        for index, (text, granularity) in enumerate(zip(texts, granularities, strict=True))
    ]


def _granularities(body: EmbedRequest, texts: int) -> list[Granularity | None]:
    if isinstance(body.granularity, str):
        values = [body.granularity] * texts
    elif len(body.granularity) == texts:
        values = list(body.granularity)
    else:
        raise InvalidInput(
            f"granularity has {len(body.granularity)} values for {texts} inputs; "
            "send one value, or one for each input",
            "granularity",
        )
    return [None if value == "auto" else Granularity(value) for value in values]


def _check_adapter(body: EmbedRequest, manifest: Manifest) -> None:
    if body.adapter is None:
        return
    # A word adapter serves token vectors; no text is embedded whole with it.
    allowed = [a.name for a in manifest.adapters if a.granularity is not Granularity.WORD]
    if body.adapter not in allowed:
        raise InvalidInput(
            f"adapter is {quote(body.adapter)}; use one of {', '.join(allowed)}", "adapter"
        )
    if body.granularity != "auto":
        raise InvalidInput(
            "adapter and granularity are both given; an adapter has one granularity: leave one out",
            "granularity",
        )


def _answer(encoded: Encoded, manifest: Manifest, encoding: str) -> dict[str, Any]:
    write = _base64 if encoding == "base64" else _floats
    data = [
        {"index": index, "embedding": write(vector), **facts_json(facts)}
        for index, (vector, facts) in enumerate(zip(encoded.vectors, encoded.facts, strict=True))
    ]
    return {
        "model": manifest.name,
        "dimensions": manifest.dimension,
        "data": data,
        "usage": {"tokens": encoded.tokens},
    }


def _floats(vector: Vectors) -> Vectors:
    return vector


def _base64(vector: Vectors) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
