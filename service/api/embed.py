"""POST /embed: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Granularity, Manifest
from service.api.documentation import TEXT_ERRORS, Operation
from service.api.embedding import allowed_adapters, check_dimensions
from service.api.requests import Service, check_sizes, in_turn, read, service_of, unless_gone
from service.api.responses import Long, base64_of, binary_response, facts_json, json_response
from service.api.schemas import EmbedRequest, EmbedResponse, EncodingName
from service.encoding.encoder import Encoded, Options, Unit
from service.encoding.quantization import int8_scale, to_binary, to_int8, truncate
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.errors import InvalidInput, quote
from service.telemetry import count

BINARY = "application/octet-stream"


async def embed(request: Request) -> Response:
    """Embed texts, each by the adapter of its granularity.

    Vectors of different adapters are comparable only where `/info` lists them together.
    """
    service = service_of(request)
    manifest = service.engine.encoder.manifest
    body = await read(request, EmbedRequest, service.settings)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    units = await in_turn(len(texts), lambda: _units(body, texts, service))
    count(request, items=len(units))
    options = Options(LongText(body.long_text), body.normalize)
    encoded = await unless_gone(request, service.engine.encode(units, options))
    count(request, tokens=encoded.tokens)
    rows = await in_turn(len(units), lambda: _rows(encoded.vectors, body))
    answer = {
        "model": manifest.name,
        "dimensions": body.dimensions or manifest.dimension,
        "scale": int8_scale(rows.shape[1]) if body.encoding == "int8" else None,
        "data": _facts(encoded),
        "usage": {"tokens": encoded.tokens},
    }
    if BINARY in request.headers.get("accept", ""):
        return await binary_response(answer, rows)
    return await json_response({**answer, "data": _data(encoded, rows, body)})


def _units(body: EmbedRequest, texts: list[str], service: Service) -> list[Unit]:
    if not texts:
        raise InvalidInput("inputs is an empty list; send at least one text", "inputs")
    check_sizes({"inputs": texts}, service.settings)
    granularities = _granularities(body, len(texts))
    manifest = service.engine.encoder.manifest
    check_adapter(body.adapter, body.granularity, manifest)
    check_shape(body.dimensions, body.encoding, body.normalize, manifest)
    is_one = isinstance(body.inputs, str)
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


def check_adapter(adapter: str | None, granularity: object, manifest: Manifest) -> None:
    """Raise InvalidInput for an adapter that no text is embedded with, or beside a granularity."""
    if adapter is None:
        return
    allowed = allowed_adapters(manifest)
    if adapter not in allowed:
        raise InvalidInput(
            f"adapter is {quote(adapter)}; use one of {', '.join(allowed)}", "adapter"
        )
    if granularity != "auto":
        raise InvalidInput(
            "adapter and granularity are both given; an adapter has one granularity: leave one out",
            "granularity",
        )


def check_shape(
    dimensions: int | None, encoding: EncodingName, normalize: bool, manifest: Manifest
) -> None:
    """Raise InvalidInput for dimensions that the bundle cannot be cut to, and wrong encodings."""
    check_dimensions(dimensions, manifest)
    if encoding == "int8" and not normalize:
        raise InvalidInput(
            "encoding is 'int8' and normalize is false; the scale of int8 is made for vectors of "
            "length 1: set normalize to true, or use one of float, base64, binary",
            "encoding",
        )


def _rows(vectors: Vectors, body: EmbedRequest) -> np.ndarray[Any, Any]:
    """What is written of each vector: (texts, values)."""
    if body.dimensions is not None and body.dimensions < vectors.shape[1]:
        vectors = truncate(vectors, body.dimensions, normalize=body.normalize)
    quantize = {"int8": to_int8, "binary": to_binary}.get(body.encoding)
    return vectors if quantize is None else quantize(vectors)


def _facts(encoded: Encoded) -> Long:
    def piece(start: int, stop: int) -> list[dict[str, Any]]:
        return [facts_json(facts) for facts in encoded.facts[start:stop]]

    return Long(len(encoded.facts), 4, piece)


def _data(encoded: Encoded, rows: np.ndarray[Any, Any], body: EmbedRequest) -> Long:
    write: Callable[[Vectors], Any] = base64_of if body.encoding == "base64" else lambda row: row

    def piece(start: int, stop: int) -> list[dict[str, Any]]:
        chosen = zip(rows[start:stop], encoded.facts[start:stop], strict=True)
        return [
            {"index": index, "embedding": write(row), **facts_json(facts)}
            for index, (row, facts) in enumerate(chosen, start)
        ]

    return Long(len(rows), rows.shape[1], piece)


OPERATIONS = (
    Operation(
        "POST",
        "/embed",
        embed,
        "texts",
        EmbedResponse,
        request=EmbedRequest,
        errors=TEXT_ERRORS,
        scope="read",
        other_answers=(
            (BINARY, "A line of JSON without the embeddings, then their values, row by row."),
        ),
    ),
)
