"""/v1: the part of OpenAI's API that embeds, so that its clients work with a base URL alone.

Model `NAME` is the bundle, each text read by the adapter of its own granularity; `NAME:ADAPTER`
reads all texts by one adapter.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Manifest
from service.api.documentation import Operation
from service.api.embedding import allowed_adapters, check_dimensions, embed_texts
from service.api.requests import read, service_of
from service.api.responses import Long, base64_of, json_response
from service.api.schemas import RequestModel, ResponseModel
from service.api.tokens import NoTokens
from service.encoding.encoder import Encoder
from service.encoding.quantization import truncate
from service.encoding.session import Vectors
from service.errors import ModelNotFound, PolygrainError, quote

_OWNER = "polygrain"
# Statuses that OpenAI's API answers with 400, and its clients raise BadRequestError for.
_BAD_REQUEST = (413, 415, 422)


class EmbeddingsRequest(RequestModel):
    """Texts to embed, as OpenAI's clients send them."""

    input: NoTokens = Field(
        description="One text, or a list of texts; lists of token numbers are refused.",
        examples=[["Reykjavík", "The cat sleeps on the mat."]],
    )
    model: str = Field(
        description="A model of `/v1/models`: the bundle's name, or `NAME:ADAPTER`.",
        examples=["polygrain-mini"],
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32 values."
    )
    dimensions: int | None = Field(
        None, description="Keep the first so many dimensions, where the bundle is made for it."
    )
    user: str | None = Field(None, description="Taken and not used.")


class EmbeddingItem(ResponseModel):
    """One text's vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(ResponseModel):
    """The size of the work."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(ResponseModel):
    """One vector for each input, in the order of the inputs."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingsUsage


class Model(ResponseModel):
    """A name that requests may give as `model`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(ResponseModel):
    """Every name that requests may give as `model`."""

    object: Literal["list"]
    data: list[Model]


async def embeddings(request: Request) -> Response:
    """Embed texts, in the shape of OpenAI's API.

    Texts longer than the adapter takes are read in overlapping windows; nothing is cut.
    """
    service = service_of(request)
    body = await read(request, EmbeddingsRequest, service.settings)
    manifest = service.engine.encoder.manifest
    adapter = _adapter(body.model, manifest)
    check_dimensions(body.dimensions, manifest)
    encoded = await embed_texts(request, service, body.input, "input", adapter=adapter)
    vectors = encoded.vectors
    if body.dimensions is not None and body.dimensions < vectors.shape[1]:
        vectors = truncate(vectors, body.dimensions, normalize=True)
    usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
    piece = partial(_items, vectors, body.encoding_format == "base64")
    data = Long(len(vectors), vectors.shape[1], piece)
    return await json_response(
        {"object": "list", "data": data, "model": body.model, "usage": usage}
    )


async def models(request: Request) -> Response:
    """The names that `/v1/embeddings` takes as `model`."""
    encoder = service_of(request).engine.encoder
    listed = [_model(name, encoder) for name in _names(encoder.manifest)]
    return await json_response({"object": "list", "data": listed})


async def model(request: Request) -> Response:
    """One name that `/v1/embeddings` takes as `model`."""
    encoder = service_of(request).engine.encoder
    name = request.path_params["model"]
    _adapter(name, encoder.manifest)
    return await json_response(_model(name, encoder))


def error_shape(error: PolygrainError, message: str) -> tuple[int, dict[str, Any]]:
    """An error as OpenAI's API answers it: the status, and the body.

    The shape is that of ours, which was made after it; some statuses and types differ.
    """
    status = 400 if error.status in _BAD_REQUEST else error.status
    type_ = "server_error" if status >= 500 else error.type
    detail = {"message": message, "type": type_, "param": error.param, "code": error.code}
    return status, {"error": detail}


def _names(manifest: Manifest) -> list[str]:
    adapters = allowed_adapters(manifest)
    return [manifest.name, *(f"{manifest.name}:{adapter}" for adapter in adapters)]


def _adapter(model: str, manifest: Manifest) -> str | None:
    """The adapter that a model's name asks for; None for that of each text's granularity."""
    names = _names(manifest)
    if model not in names:
        raise ModelNotFound(
            f"there is no model {quote(model)} here; use one of {', '.join(names)}", "model"
        )
    return model.removeprefix(manifest.name).removeprefix(":") or None


def _model(name: str, encoder: Encoder) -> dict[str, Any]:
    created = int((encoder.bundle.path / "manifest.json").stat().st_mtime)
    return {"id": name, "object": "model", "created": created, "owned_by": _OWNER}


def _items(vectors: Vectors, as_base64: bool, start: int, stop: int) -> list[dict[str, Any]]:
    rows = enumerate(vectors[start:stop], start)
    return [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64_of(row) if as_base64 else row,
        }
        for index, row in rows
    ]


_ERRORS = (400, 404, 500, 503)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/embeddings",
        embeddings,
        "OpenAI's clients",
        EmbeddingsResponse,
        request=EmbeddingsRequest,
        errors=_ERRORS,
        scope="read",
    ),
    Operation("GET", "/v1/models", models, "OpenAI's clients", ModelList, errors=(503,)),
    Operation("GET", "/v1/models/{model}", model, "OpenAI's clients", Model, errors=(404, 503)),
)
