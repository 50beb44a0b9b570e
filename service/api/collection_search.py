"""POST /collections/{name}/search: documents that are near to texts or vectors."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection as Collected
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.collection_requests import (
    BODY_ERRORS,
    TAG,
    condition_of,
    document_json,
    made_by,
    on_collection,
    vector_rows,
)
from service.api.collection_schemas import FieldName, SearchRequest, SearchResponse
from service.api.documentation import Operation
from service.api.requests import Service, check_sizes, read, service_of, unless_gone
from service.api.responses import Long, json_response
from service.errors import InvalidInput, NotComparable, TooLarge
from service.retrieval.collection import Collection
from service.retrieval.reading import Reading, read_queries, read_vectors
from service.retrieval.searching import Query
from service.retrieval.values import SCORE_DECIMALS, Cancel, Floats, Found, Space
from service.telemetry import count

_Piece = Callable[[int, int], list[list[dict[str, Any]]]]

# A search whose collection gains another kind of vector meanwhile reads its queries again.
_ATTEMPTS = 3


async def search(request: Request) -> Response:
    """Find the documents nearest to each query, in whatever language either is."""
    service = service_of(request)
    body = await read(request, SearchRequest, service.settings)
    texts = _texts(body, service)
    query = _query(body, len(texts if texts is not None else body.vectors or ()))
    count(request, items=query.queries)
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _answer(request, service, body, texts, query)
        except _SpacesChanged:
            pass
    return await _answer(request, service, body, texts, query)


class _SpacesChanged(NotComparable):
    """The collection gained or lost a kind of vector while the queries were read."""


async def _answer(
    request: Request, service: Service, body: SearchRequest, texts: list[str] | None, query: Query
) -> Response:
    spaces, vectors, tokens = await _vectors(request, service, body, texts)
    try:
        piece = await on_collection(
            request,
            lambda collection, cancel: _search(collection, query, vectors, body.include, cancel),
        )
    except NotComparable as error:
        if await on_collection(request, lambda collection, _: collection.spaces()) == spaces:
            raise
        raise _SpacesChanged(error.message, error.param) from None
    width = 400 if "vector" in body.include else 8
    results = Long(query.queries, body.top_k * width, piece)
    return await json_response({"results": results, "usage": {"tokens": tokens}})


def _texts(body: SearchRequest, service: Service) -> list[str] | None:
    """The texts that are sought; None where vectors are."""
    if (body.queries is None) == (body.vectors is None):
        raise InvalidInput("send exactly one of queries and vectors", "queries")
    if body.queries is None:
        if body.granularity != "auto":
            raise InvalidInput("granularity is of queries; vectors have theirs", "granularity")
        if not body.vectors:
            raise InvalidInput("vectors is an empty list; send at least one", "vectors")
        if len(body.vectors) > service.settings.max_items:
            raise TooLarge(
                f"the request has {len(body.vectors)} vectors; at most "
                f"{service.settings.max_items} are allowed (POLYGRAIN_MAX_ITEMS): send them in "
                "several requests",
                "vectors",
            )
        return None
    if body.adapter is not None or body.bundle is not None or body.version is not None:
        raise InvalidInput("adapter, bundle and version are of vectors, not of queries", "adapter")
    texts = [body.queries] if isinstance(body.queries, str) else body.queries
    if not texts:
        raise InvalidInput("queries is an empty list; send at least one text", "queries")
    check_sizes({"queries": texts}, service.settings)
    return texts


def _query(body: SearchRequest, queries: int) -> Query:
    return Query(
        queries=queries,
        top_k=body.top_k,
        condition=condition_of(body),
        score=body.score,
        min_score=body.min_score,
        balance=body.balance,
        with_vectors="vector" in body.include,
    )


async def _vectors(
    request: Request, service: Service, body: SearchRequest, texts: list[str] | None
) -> tuple[dict[int, Space], dict[int, Floats], int]:
    """The collection's spaces, the queries' vectors for each, and the tokens that it took."""
    if texts is None:
        spaces, vectors = await on_collection(
            request, lambda collection, _: _given_vectors(collection, service, body)
        )
        return spaces, vectors, 0
    spaces, reading = await on_collection(
        request, lambda collection, _: _reading(collection, service, body, texts)
    )
    if not reading.units:
        return spaces, {}, 0
    encoded = await unless_gone(request, service.engine.encode(reading.units))
    count(request, tokens=encoded.tokens)
    return spaces, reading.vectors(encoded.vectors), encoded.tokens


def _reading(
    collection: Collection, service: Service, body: SearchRequest, texts: list[str]
) -> tuple[dict[int, Space], Reading]:
    spaces = collection.spaces()
    manifest = service.engine.encoder.manifest
    if collection.settings.dimensions != manifest.dimension:
        # Nothing that this bundle makes compares with what is there.
        return spaces, Reading([], {})
    return spaces, read_queries(texts, body.granularity, spaces, manifest)


def _given_vectors(
    collection: Collection, service: Service, body: SearchRequest
) -> tuple[dict[int, Space], dict[int, Floats]]:
    manifest = service.engine.encoder.manifest
    rows = vector_rows(body.vectors or (), collection.settings.dimensions, "vectors[{}]".format)
    spaces = collection.spaces()
    return spaces, read_vectors(rows, made_by(body, manifest), spaces, manifest)


def _search(
    collection: Collection,
    query: Query,
    vectors: dict[int, Floats],
    include: Collected[FieldName],
    cancel: Cancel,
) -> _Piece:
    """The results of the queries from one place to another, as the answer tells them."""
    if not include:
        named = collection.search_ids(query, vectors, cancel)
        return lambda start, stop: [
            [
                {"id": id_, "score": round(score, SCORE_DECIMALS)}
                for id_, score in zip(each.ids, each.scores, strict=True)
            ]
            for each in named[start:stop]
        ]
    found, names = collection.search(query, vectors, cancel), collection.spaces(gone=True)

    def hit(each: Found) -> dict[str, Any]:
        told = document_json(each.document, include, names, each.vector)
        return {"id": told.pop("id"), "score": round(each.score, SCORE_DECIMALS), **told}

    return lambda start, stop: [[hit(each) for each in hits] for hits in found[start:stop]]


OPERATIONS = (
    Operation(
        "POST",
        "/collections/{name}/search",
        search,
        TAG,
        SearchResponse,
        request=SearchRequest,
        errors=BODY_ERRORS,
        scope="read",
    ),
)
