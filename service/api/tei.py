"""/tei: the API of text-embeddings-inference, so that its clients work with a base URL alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Manifest
from service.alignment.scoring import cosine_similarities
from service.api.documentation import TEXT_ERRORS, Operation
from service.api.embedding import allowed_adapters, check_dimensions, embed_texts
from service.api.requests import Service, encode_both, read, service_of
from service.api.responses import Long, json_response, list_response
from service.api.schemas import OBJECT, TEXTS, RequestModel, ResponseModel, Status, TextList
from service.api.tokens import NoTokens
from service.encoding.encoder import Options
from service.encoding.quantization import truncate
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.errors import InvalidInput, NotFound, PolygrainError, quote

PREFIX = "/tei"
_TAG = "text-embeddings-inference's clients"


class SourceAndSentences(RequestModel):
    """A text, and the texts to compare it with."""

    source_sentence: str
    sentences: TextList


class _Shared(RequestModel):
    """What requests on one list of texts may say besides the texts."""

    normalize: bool = Field(True, description="Whether vectors have length 1.")
    truncate: bool = Field(
        False,
        description="Whether the end of a text that its adapter cannot take is left out. false: "
        "the text is read in overlapping windows, and nothing is left out.",
    )
    truncation_direction: Literal["right", "Right", "left", "Left"] = Field(
        "Right", description="Only `Right`: what is left out is the end."
    )
    prompt_name: str | None = Field(
        None,
        description="The name of an adapter, which then reads all texts. null: each is read by "
        "that of its own granularity.",
    )
    dimensions: int | None = Field(
        None, description="Keep the first so many dimensions, where the bundle is made for it."
    )


class TeiEmbedRequest(_Shared):
    """Texts to embed, as text-embeddings-inference takes them."""

    inputs: NoTokens = Field(
        description="One text, or a list of texts.",
        examples=[["Reykjavík", "The cat sleeps on the mat."]],
    )


class TeiSimilarityRequest(RequestModel):
    """A text to compare with others, as text-embeddings-inference takes it."""

    inputs: SourceAndSentences
    parameters: dict[str, Any] | None = Field(None, description="Only {} or null.")


def _kind(value: object) -> str:
    return OBJECT if isinstance(value, dict) else TEXTS


class TeiRequest(_Shared):
    """Either of the two, told apart by `inputs`: for clients that know the base URL alone."""

    inputs: Annotated[
        Annotated[NoTokens, Tag(TEXTS)] | Annotated[SourceAndSentences, Tag(OBJECT)],
        Discriminator(_kind),
    ]
    parameters: dict[str, Any] | None = None


class TeiVectors(ResponseModel):
    """In truth a list of vectors, one for each input."""


class TeiScores(ResponseModel):
    """In truth a list of cosines, one for each sentence."""


class TeiInfo(ResponseModel):
    """What text-embeddings-inference tells of its model, as far as it has a meaning here."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, dict[str, str]]
    max_input_length: int
    max_client_batch_size: int
    max_batch_tokens: int
    auto_truncate: bool
    version: str


async def embed(request: Request) -> Response:
    """Embed texts: a list of vectors."""
    service = service_of(request)
    body = await read(request, TeiEmbedRequest, service.settings)
    return await _embedded(request, service, body, body.inputs)


async def similarity(request: Request) -> Response:
    """Compare a text with others: a list of cosines."""
    service = service_of(request)
    body = await read(request, TeiSimilarityRequest, service.settings)
    return await _compared(request, service, body.inputs, body.parameters)


async def either(request: Request) -> Response:
    """Embed or compare, whichever `inputs` asks for; `InferenceClient` knows only a base URL."""
    service = service_of(request)
    body = await read(request, TeiRequest, service.settings)
    if isinstance(body.inputs, SourceAndSentences):
        return await _compared(request, service, body.inputs, body.parameters)
    return await _embedded(request, service, body, body.inputs)


async def info(request: Request) -> Response:
    """The model and the limits, in text-embeddings-inference's words."""
    service = service_of(request)
    encoder, settings = service.engine.encoder, service.settings
    manifest = encoder.manifest
    described = {
        "model_id": manifest.name,
        "model_sha": manifest.version,
        "model_dtype": encoder.choice.precision,
        "model_type": {"embedding": {"pooling": manifest.pooling}},
        "max_input_length": max(adapter.max_tokens for adapter in manifest.adapters),
        "max_client_batch_size": settings.max_items,
        "max_batch_tokens": settings.batch_tokens,
        "auto_truncate": False,
        "version": version("polygrain"),
    }
    return await json_response(described)


async def health(request: Request) -> Response:
    """Whether texts are taken now."""
    service_of(request)
    return await json_response({"status": "ready"})


def _refusal(name: str, why: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        raise NotFound(f"{PREFIX}/{name} is not offered: {why}")

    refuse.__name__ = name
    refuse.__doc__ = f"Not offered: {why}."
    return refuse


def error_shape(error: PolygrainError, message: str) -> tuple[int, dict[str, Any]]:
    """An error as text-embeddings-inference's clients read it: the status, and the body."""
    return error.status, {"error": message, "error_type": _ERROR_TYPES.get(error.status, "Backend")}


_ERROR_TYPES = {
    **dict.fromkeys((400, 401, 403, 404, 405, 413, 415, 422), "Validation"),
    429: "Overloaded",
    503: "Unhealthy",
}


async def _embedded(
    request: Request, service: Service, body: _Shared, inputs: str | list[str]
) -> Response:
    manifest = service.engine.encoder.manifest
    _check(body, manifest)
    options = Options(LongText.TRUNCATE if body.truncate else LongText.WINDOW, body.normalize)
    encoded = await embed_texts(
        request, service, inputs, "inputs", adapter=body.prompt_name, options=options
    )
    vectors: Vectors = encoded.vectors
    if body.dimensions is not None and body.dimensions < vectors.shape[1]:
        vectors = truncate(vectors, body.dimensions, normalize=body.normalize)
    return await list_response(
        Long(len(vectors), vectors.shape[1], lambda start, stop: vectors[start:stop])
    )


def _check(body: _Shared, manifest: Manifest) -> None:
    allowed = allowed_adapters(manifest)
    if body.prompt_name is not None and body.prompt_name not in allowed:
        raise InvalidInput(
            f"prompt_name is {quote(body.prompt_name)}; the model has no prompts, and takes the "
            f"name of an adapter here: use one of {', '.join(allowed)}, or leave it out",
            "prompt_name",
        )
    if body.truncate and body.truncation_direction.lower() == "left":
        raise InvalidInput(
            "truncation_direction is 'Left'; texts are cut at their end alone: use 'Right', or set "
            "truncate to false, which cuts nothing",
            "truncation_direction",
        )
    check_dimensions(body.dimensions, manifest)


async def _compared(
    request: Request,
    service: Service,
    inputs: SourceAndSentences,
    parameters: dict[str, Any] | None,
) -> Response:
    if parameters:
        raise InvalidInput(
            f"parameters has {quote(next(iter(parameters)))}; none is offered: leave it out",
            "parameters",
        )
    lists = {
        "inputs.source_sentence": [inputs.source_sentence],
        "inputs.sentences": inputs.sentences,
    }
    encoded, cut = await encode_both(request, service, lists, "auto")
    (scores,) = cosine_similarities(encoded.vectors[:cut], encoded.vectors[cut:])
    return await list_response(Long(len(scores), 1, lambda start, stop: scores[start:stop]))


_REFUSED = {
    "embed_all": "vectors of single tokens are not served; use /tei/embed for one of each text",
    "embed_sparse": "the model makes dense vectors; use /tei/embed",
    "predict": "the model is no classifier; use /tei/embed or /tei/similarity",
    "rerank": "the model compares vectors and is no re-ranker; use /tei/similarity",
    "tokenize": "tokens are not told one by one; /embed tells how many a text has",
    "decode": "tokens are not made into text",
}

OPERATIONS = (
    Operation(
        "POST",
        f"{PREFIX}/embed",
        embed,
        _TAG,
        TeiVectors,
        request=TeiEmbedRequest,
        errors=TEXT_ERRORS,
        scope="read",
    ),
    Operation(
        "POST",
        f"{PREFIX}/similarity",
        similarity,
        _TAG,
        TeiScores,
        request=TeiSimilarityRequest,
        errors=TEXT_ERRORS,
        scope="read",
    ),
    Operation(
        "POST",
        PREFIX,
        either,
        _TAG,
        TeiVectors,
        request=TeiRequest,
        errors=TEXT_ERRORS,
        scope="read",
    ),
    Operation("GET", f"{PREFIX}/info", info, _TAG, TeiInfo, errors=(503,)),
    Operation("GET", f"{PREFIX}/health", health, _TAG, Status, errors=(503,), scope="open"),
    *(
        Operation(
            "POST",
            f"{PREFIX}/{name}",
            _refusal(name, why),
            _TAG,
            Status,
            errors=(404,),
            scope="open",
        )
        for name, why in _REFUSED.items()
    ),
)
