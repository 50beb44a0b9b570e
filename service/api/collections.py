"""/collections: make, describe, rebuild and delete collections."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Granularity
from service.api.collection_requests import BODY_ERRORS, ERRORS, TAG, check_makes, on_collection
from service.api.collection_schemas import (
    CollectionInfo,
    CollectionList,
    CollectionRequest,
    Deleted,
    IndexRequest,
    RebuildRequest,
    RebuildResponse,
)
from service.api.documentation import Operation
from service.api.requests import Service, read, service_of, unless_gone
from service.api.responses import json_response
from service.encoding.batching import Priority
from service.encoding.encoder import Unit
from service.retrieval.collection import Collection
from service.retrieval.filters import Condition
from service.retrieval.index import IndexWish
from service.retrieval.reading import is_current, space_of
from service.retrieval.values import CollectionSettings, Document, Entry
from service.telemetry import count

# Documents that are embedded anew at a time.
_PAGE = 256


async def list_collections(request: Request) -> Response:
    """The names of all collections, sorted."""
    work = service_of(request).collections
    names = await work.run("search", lambda _: work.collections.names())
    return await json_response({"collections": names})


async def create(request: Request) -> Response:
    """Make a collection. One that is there stays as it is, unless a setting sent differs: 409."""
    service = service_of(request)
    body = await read(request, CollectionRequest, service.settings)
    name, work = request.path_params["name"], service.collections
    settings = CollectionSettings(
        body.dimensions or service.engine.encoder.manifest.dimension,
        body.granularity,
        _wish(body.index),
    )
    asked = sorted(field for field in body.model_fields_set if getattr(body, field) is not None)
    await work.run("write", lambda _: work.collections.create(name, settings, asked))
    return await describe(request)


async def describe(request: Request) -> Response:
    """What a collection is and holds, and what the last audit of its indexes found."""
    service = service_of(request)
    described = await on_collection(request, lambda found, _: _described(found, service))
    return await json_response(described)


async def delete(request: Request) -> Response:
    """Delete a collection with all that it holds."""
    work = service_of(request).collections
    name = request.path_params["name"]
    await work.run("write", lambda _: work.collections.delete(name))
    return await json_response({"deleted": 1})


async def rebuild(request: Request) -> Response:
    """Build the indexes anew beside searches and writes, by another wish where one is sent.

    With `embed`, the texts whose vectors another bundle or version made are embedded first. What
    is done is kept where the request breaks off, and the next one goes on from there.
    """
    service = service_of(request)
    body = await read(request, RebuildRequest, service.settings)
    wish = None if body.index is None else _wish(body.index)
    embedded = await _embed_anew(request, service) if body.embed else 0
    await on_collection(request, lambda found, _: found.rebuild(wish), "slow")
    described = await on_collection(request, lambda found, _: _described(found, service))
    return await json_response({"embedded": embedded, "collection": described})


async def _embed_anew(request: Request, service: Service) -> int:
    """Embed what the served bundle did not; how many texts that were."""
    total = after = 0
    while documents := await _outdated(request, service, after):
        total += await _embed_page(request, service, documents)
        after = documents[-1].key
    return total


async def _outdated(request: Request, service: Service, after: int) -> list[Document]:
    return await on_collection(request, lambda found, _: _outdated_page(found, after, service))


async def _embed_page(request: Request, service: Service, documents: list[Document]) -> int:
    """Give documents vectors of the served bundle, but those that were written anew meanwhile."""
    manifest = service.engine.encoder.manifest
    count(request, items=len(documents))
    units = [Unit(each.text or "", f"document {each.id}", _granularity(each)) for each in documents]
    encoded = await unless_gone(request, service.engine.encode(units, priority=Priority.JOB))
    count(request, tokens=encoded.tokens)
    entries = [
        Entry(
            id=document.id,
            text=document.text,
            language=document.language,
            granularity=facts.granularity,
            metadata=document.metadata,
            space=space_of(manifest, facts.adapter),
        )
        for document, facts in zip(documents, encoded.facts, strict=True)
    ]
    keys = {each.id: each.key for each in documents}
    written = await on_collection(
        request, lambda found, _: found.upsert(entries, encoded.vectors, keys), "write"
    )
    return written.replaced


def _outdated_page(collection: Collection, after: int, service: Service) -> list[Document]:
    manifest = service.engine.encoder.manifest
    check_makes(collection.settings.dimensions, manifest)
    numbers = [
        number for number, space in collection.spaces().items() if not is_current(space, manifest)
    ]
    if not numbers:
        return []
    condition = Condition(f"d.space IN ({', '.join(map(str, numbers))}) AND d.text IS NOT NULL")
    return collection.page(condition, after, _PAGE)[0]


def _granularity(document: Document) -> Granularity | None:
    return None if document.granularity is None else Granularity(document.granularity)


def _wish(index: IndexRequest) -> IndexWish:
    return IndexWish(index.kind, index.recall, index.memory_bytes, index.parameters)


def _described(collection: Collection, service: Service) -> dict[str, Any]:
    manifest = service.engine.encoder.manifest
    settings, report = collection.settings, collection.report()
    return {
        "name": collection.name,
        "created_at": collection.created_at,
        "dimensions": settings.dimensions,
        "granularity": settings.granularity,
        "index": asdict(settings.index),
        "documents": report.documents,
        "sequence": report.sequence,
        "bytes": report.bytes,
        "languages": report.languages,
        "granularities": report.granularities,
        "vectors": [
            {
                **asdict(each.space),
                "current": is_current(each.space, manifest),
                "documents": each.documents,
                "index": asdict(each.index),
            }
            for each in report.spaces
        ],
    }


_PATH = "/collections/{name}"

OPERATIONS = (
    Operation("GET", "/collections", list_collections, TAG, CollectionList, errors=(503,)),
    Operation(
        "PUT", _PATH, create, TAG, CollectionInfo, request=CollectionRequest, errors=BODY_ERRORS
    ),
    Operation("GET", _PATH, describe, TAG, CollectionInfo, errors=ERRORS),
    Operation("DELETE", _PATH, delete, TAG, Deleted, errors=ERRORS),
    Operation(
        "POST",
        f"{_PATH}/rebuild",
        rebuild,
        TAG,
        RebuildResponse,
        request=RebuildRequest,
        errors=BODY_ERRORS,
    ),
)
