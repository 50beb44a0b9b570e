"""/collections/{name}/…: write, read, list, count, export and delete documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from models.bundle import Granularity, Manifest
from service.api.collection_requests import (
    BODY_ERRORS,
    ERRORS,
    TAG,
    check_ids,
    check_makes,
    condition_of,
    document_json,
    made_by,
    metadata_json,
    on_collection,
    vector_rows,
)
from service.api.collection_schemas import (
    DEFAULT_FIELDS,
    Count,
    CountRequest,
    Deleted,
    DeleteRequest,
    DocumentResponse,
    DocumentsRequest,
    FieldName,
    ScrollRequest,
    ScrollResponse,
    VectorsRequest,
    VectorsWritten,
    WrittenResponse,
)
from service.api.documentation import Operation
from service.api.requests import Service, check_sizes, read, service_of, unless_gone
from service.api.responses import Long, base64_of, facts_json, json_response, write_json
from service.encoding.batching import Priority
from service.encoding.encoder import Facts, Unit
from service.errors import InvalidInput, NotFound, quote
from service.retrieval.collection import Collection
from service.retrieval.filters import EVERYTHING, parse_filter
from service.retrieval.languages import detect
from service.retrieval.reading import is_current, space_of
from service.retrieval.values import UNDETERMINED, Entry, Floats, Space
from service.telemetry import count

# A write of more documents than this yields to requests that somebody waits for.
_WAITED_FOR = 16

# Documents of an export that are read at a time.
_EXPORT_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Drafts:
    """Documents that are checked, before their vectors are known."""

    units: list[Unit]
    languages: list[str]
    metadata: list[bytes]


async def upsert(request: Request) -> Response:
    """Write documents, each in the place of one with its id; answered when all are on disk."""
    service = service_of(request)
    body = await read(request, DocumentsRequest, service.settings)
    count(request, items=len(body.documents))
    drafts = await on_collection(request, lambda found, _: _drafts(found, body, service))
    priority = Priority.JOB if len(drafts.units) > _WAITED_FOR else Priority.INTERACTIVE
    encoded = await unless_gone(request, service.engine.encode(drafts.units, priority=priority))
    count(request, tokens=encoded.tokens)
    manifest = service.engine.encoder.manifest
    entries = [
        Entry(
            id=document.id,
            text=document.text,
            language=language,
            granularity=facts.granularity,
            metadata=metadata,
            space=space_of(manifest, facts.adapter),
        )
        for document, language, metadata, facts in zip(
            body.documents, drafts.languages, drafts.metadata, encoded.facts, strict=True
        )
    ]
    written = await on_collection(
        request, lambda found, _: found.upsert(entries, encoded.vectors), "write"
    )
    return await json_response(
        {
            "inserted": written.inserted,
            "replaced": written.replaced,
            "sequence": written.sequence,
            "items": _items(entries, encoded.facts),
            "usage": {"tokens": encoded.tokens},
        }
    )


def _drafts(collection: Collection, body: DocumentsRequest, service: Service) -> _Drafts:
    documents, settings = body.documents, collection.settings
    manifest = service.engine.encoder.manifest
    check_makes(settings.dimensions, manifest)
    check_ids([each.id for each in documents], "documents", service.settings.max_items)
    texts = [each.text for each in documents]
    check_sizes({"documents": texts}, service.settings)
    return _Drafts(
        [
            Unit(
                each.text,
                f"documents[{index}].text",
                _granularity(each.granularity or settings.granularity),
            )
            for index, each in enumerate(documents)
        ],
        _languages([each.language for each in documents], texts, manifest),
        [
            metadata_json(each.metadata, f"documents[{index}].metadata")
            for index, each in enumerate(documents)
        ],
    )


def _granularity(name: str) -> Granularity | None:
    return None if name == "auto" else Granularity(name)


def _languages(
    given: list[str | None], texts: list[str] | list[str | None], manifest: Manifest
) -> list[str]:
    """The languages given, and those of the other texts as they are told from the texts."""
    open_ = [text or "" for language, text in zip(given, texts, strict=True) if language is None]
    told = iter(detect(open_, manifest.languages) if any(open_) else [UNDETERMINED] * len(open_))
    return [next(told) if language is None else language for language in given]


def _items(entries: list[Entry], facts: tuple[Facts, ...]) -> Long:
    def piece(start: int, stop: int) -> list[dict[str, Any]]:
        return [
            {"id": entry.id, "language": entry.language, **facts_json(fact)}
            for entry, fact in zip(entries[start:stop], facts[start:stop], strict=True)
        ]

    return Long(len(entries), 6, piece)


async def write_vectors(request: Request) -> Response:
    """Write documents with vectors that are there already; answered when all are on disk."""
    service = service_of(request)
    body = await read(request, VectorsRequest, service.settings)
    count(request, items=len(body.documents))

    def write(collection: Collection) -> Any:  # noqa: ANN401
        entries, vectors = _given(collection, body, service)
        return collection.upsert(entries, vectors)

    written = await on_collection(request, lambda found, _: write(found), "write")
    return await json_response(
        {
            "inserted": written.inserted,
            "replaced": written.replaced,
            "sequence": written.sequence,
        }
    )


def _given(
    collection: Collection, body: VectorsRequest, service: Service
) -> tuple[list[Entry], Floats]:
    documents, manifest = body.documents, service.engine.encoder.manifest
    check_ids([each.id for each in documents], "documents", service.settings.max_items)
    check_sizes({"documents": [each.text or "" for each in documents]}, service.settings)
    space = made_by(body, manifest)
    if is_current(space, manifest):
        check_makes(collection.settings.dimensions, manifest)
    vectors = vector_rows(
        [each.vector for each in documents],
        collection.settings.dimensions,
        "documents[{}].vector".format,
    )
    texts = [each.text for each in documents]
    languages = _languages([each.language for each in documents], texts, manifest)
    granularity = _granularity_of(space, manifest)
    entries = [
        Entry(
            id=each.id,
            text=each.text,
            language=language,
            granularity=each.granularity or granularity,
            metadata=metadata_json(each.metadata, f"documents[{index}].metadata"),
            space=space,
        )
        for index, (each, language) in enumerate(zip(documents, languages, strict=True))
    ]
    return entries, vectors


def _granularity_of(space: Space, manifest: Manifest) -> str | None:
    if space.adapter is None or not is_current(space, manifest):
        return None
    return manifest.adapter(space.adapter).granularity


async def get(request: Request) -> Response:
    """One document by its id; with `include=vector`, its vector too."""
    with_vector = _wants_vector(request)
    id_ = request.path_params["id"]
    found, spaces = await on_collection(
        request, lambda collection, _: (collection.get(id_), collection.spaces(gone=True))
    )
    if found is None:
        raise NotFound(
            f"collection {request.path_params['name']} has no document {quote(id_)}", "id"
        )
    document, vector = found
    include: list[FieldName] = [*DEFAULT_FIELDS, "adapter"]
    include += ["vector"] if with_vector else []
    return await json_response(document_json(document, include, spaces, vector))


async def delete(request: Request) -> Response:
    """Delete documents by `ids` or by `filter`, all or none; answered when that is on disk."""
    service = service_of(request)
    body = await read(request, DeleteRequest, service.settings)
    if (body.ids is None) == (body.filter is None):
        raise InvalidInput("send exactly one of ids and filter", "ids")
    if body.ids is not None:
        ids = body.ids
        count(request, items=len(ids))
        deleted = await on_collection(request, lambda found, _: found.delete_ids(ids), "write")
    else:
        condition = parse_filter(body.filter)
        deleted = await on_collection(
            request, lambda found, _: found.delete_where(condition), "write"
        )
    return await json_response({"deleted": deleted})


async def scroll(request: Request) -> Response:
    """List documents page by page, in the order in which they were written.

    One that is written anew meanwhile comes again, at the end; none is left out.
    """
    service = service_of(request)
    body = await read(request, ScrollRequest, service.settings)
    condition, after = condition_of(body), _after(body.cursor)
    (documents, vectors), spaces = await on_collection(
        request,
        lambda found, cancel: (
            found.page(condition, after, body.limit + 1, cancel),
            found.spaces(gone=True),
        ),
    )
    page = documents[: body.limit]

    def piece(start: int, stop: int) -> list[dict[str, Any]]:
        return [
            document_json(each, body.include, spaces, vector)
            for each, vector in zip(page[start:stop], vectors[start:stop], strict=True)
        ]

    width = vectors.shape[1] if "vector" in body.include else 8
    cursor = str(page[-1].key) if len(documents) > len(page) else None
    return await json_response({"documents": Long(len(page), width, piece), "cursor": cursor})


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput(
            f"cursor is {quote(cursor)}; send the cursor of an answer as it is", "cursor"
        )
    return int(cursor)


async def count_documents(request: Request) -> Response:
    """How many documents there are that meet a filter."""
    service = service_of(request)
    body = await read(request, CountRequest, service.settings)
    condition = condition_of(body)
    counted = await on_collection(request, lambda found, cancel: found.count(condition, cancel))
    return await json_response({"count": counted})


async def export(request: Request) -> Response:
    """All documents as lines of JSON; with `include=vector`, their vectors too, in base64."""
    work, name = service_of(request).collections, request.path_params["name"]
    with_vector = _wants_vector(request)

    async def page(after: int) -> tuple[bytes, int]:
        return await work.run(
            "slow", lambda _: _lines(work.collections.get(name), after, with_vector)
        )

    first, last = await page(0)

    async def pages(lines: bytes, last: int) -> AsyncIterator[bytes]:
        while lines:
            yield lines
            lines, last = await page(last)

    return StreamingResponse(pages(first, last), media_type=_LINES)


def _lines(collection: Collection, after: int, with_vector: bool) -> tuple[bytes, int]:
    """The next documents as lines, and the key of the last."""
    documents, vectors = collection.page(EVERYTHING, after, _EXPORT_PAGE)
    spaces = collection.spaces(gone=True)
    lines = bytearray()
    for document, vector in zip(documents, vectors, strict=True):
        line = document_json(document, DEFAULT_FIELDS, spaces)
        if with_vector:
            space = spaces[document.space]
            line |= {"bundle": space.bundle, "version": space.version, "adapter": space.adapter}
            line["vector"] = base64_of(vector)
        lines += write_json(line) + b"\n"
    return bytes(lines), documents[-1].key if documents else after


def _wants_vector(request: Request) -> bool:
    include = request.query_params.get("include")
    if include not in (None, "vector"):
        raise InvalidInput(f"include is {quote(include)}; use vector, or leave it out", "include")
    return include == "vector"


_LINES = "application/x-ndjson"
_PATH = "/collections/{name}"
_VECTOR = (("include", "`vector`: the vectors too."),)


def _post(path: str, handler: Callable[..., Any], request: Any, response: Any) -> Operation:  # noqa: ANN401
    return Operation(
        "POST", f"{_PATH}/{path}", handler, TAG, response, request=request, errors=BODY_ERRORS
    )


OPERATIONS = (
    _post("documents", upsert, DocumentsRequest, WrittenResponse),
    _post("documents/delete", delete, DeleteRequest, Deleted),
    Operation(
        "GET",
        f"{_PATH}/documents/{{id:path}}",
        get,
        TAG,
        DocumentResponse,
        errors=ERRORS,
        query=_VECTOR,
    ),
    _post("vectors", write_vectors, VectorsRequest, VectorsWritten),
    _post("scroll", scroll, ScrollRequest, ScrollResponse),
    _post("count", count_documents, CountRequest, Count),
    Operation(
        "GET",
        f"{_PATH}/export",
        export,
        TAG,
        DocumentResponse,
        errors=ERRORS,
        query=_VECTOR,
        other_answers=((_LINES, "A document a line."),),
    ),
)
