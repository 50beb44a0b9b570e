"""The table of operations, and the documentation that is made of it when somebody asks.

Requests run on Starlette alone. FastAPI only describes the same table as an OpenAPI document and
draws the page; it is imported at the first request for one of them, so that neither the start of
the service nor its requests pay for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, JsonValue
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from service.api.admission import Handler, ScopeOrOpen, admitted
from service.api.responses import write_json
from service.api.schemas import ErrorBody

# What an operation on texts may answer instead, beside `_GUARDED`.
TEXT_ERRORS = (400, 413, 415, 422, 500, 503)

# What any operation that is not open may answer: no key, too narrow a key, a limit of the key or of
# the queue. It is added to what an operation names.
_GUARDED = (401, 403, 429)

_TITLE = "Polygrain"
_ASSETS = "/docs/assets"


_PATH_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """A path with its handler, and what the documentation tells of it beside the docstring."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    tag: str
    response: type[BaseModel]
    request: type[BaseModel] | None = None
    # Statuses that come in the one shape of errors.
    errors: tuple[int, ...] = ()
    # Media types of the answer beside JSON, with what they hold.
    other_answers: tuple[tuple[str, str], ...] = ()
    # What a key must be allowed to do; None: `read` for GET and `write` for all else, so that an
    # operation whose author forgot it is closed rather than open.
    scope: ScopeOrOpen | None = None
    # Parameters of the query, by name, with what they do.
    query: tuple[tuple[str, str], ...] = ()

    @property
    def needs(self) -> ScopeOrOpen:
        """The scope that a caller needs, or `open` for none."""
        return self.scope or ("read" if self.method == "GET" else "write")


def operation_routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """The routes that serve them to callers who may have it: one for each path, whatever its
    methods."""
    handlers: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        handlers.setdefault(operation.path, {})[operation.method] = admitted(
            operation.handler, operation.path, operation.needs
        )
    return [
        Route(path, _dispatcher(by_method), methods=list(by_method))
        for path, by_method in handlers.items()
    ]


def _dispatcher(by_method: dict[str, Handler]) -> Handler:
    if len(by_method) == 1:
        return next(iter(by_method.values()))

    async def dispatch(request: Request) -> Response:
        # Starlette answers HEAD wherever there is a GET.
        method = "GET" if request.method == "HEAD" else request.method
        return await by_method[method](request)

    return dispatch


def documentation_routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """/docs, its assets, and /openapi.json, with nothing loaded from another host."""

    @cache
    def document() -> bytes:
        return write_json(_openapi(operations))

    async def openapi(request: Request) -> Response:
        return Response(await asyncio.to_thread(document), media_type="application/json")

    return [
        Route("/openapi.json", openapi),
        Route("/docs", _page),
        Mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")])),
    ]


async def _page(request: Request) -> Response:
    return HTMLResponse(await asyncio.to_thread(_html))


@cache
def _html() -> str:
    from fastapi.openapi.docs import get_swagger_ui_html

    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=_TITLE,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
    )
    return bytes(page.body).decode()


def _openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    from fastapi import FastAPI

    app = FastAPI(
        title=_TITLE,
        version=version("polygrain"),
        description="Embeds and aligns text in many languages, one adapter for each granularity.",
    )
    for operation in operations:
        app.add_api_route(
            operation.path,
            operation.handler,
            methods=[operation.method],
            tags=[operation.tag],
            **_described(operation),
        )
    document = app.openapi()
    for operation in operations:
        if operation.request is not None:
            nested = _schema(operation.request).get("$defs", {})
            document["components"]["schemas"].update(nested)
    return document


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def _described(operation: Operation) -> dict[str, Any]:
    """The keywords of a FastAPI route that put models and errors into the document."""
    success: dict[str, Any] = {"model": operation.response}
    if operation.other_answers:
        success["content"] = {
            media_type: {"schema": {"type": "string", "format": "binary", "description": holds}}
            for media_type, holds in operation.other_answers
        }
    statuses = {*operation.errors, *(_GUARDED if operation.needs != "open" else ())}
    errors = {status: {"model": ErrorBody} for status in sorted(statuses)}
    described: dict[str, Any] = {"responses": {200: success, **errors}}
    parameters: list[JsonValue] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": does, "schema": {"type": "string"}}
        for name, does in operation.query
    ]
    extra: dict[str, JsonValue] = {"parameters": parameters} if parameters else {}
    if operation.request is not None:
        schema = _schema(operation.request)
        schema.pop("$defs", None)  # they stand with the document's own
        content: dict[str, JsonValue] = {"schema": schema}
        body: JsonValue = {"required": True, "content": {"application/json": content}}
        extra["requestBody"] = body
    if extra:
        described["openapi_extra"] = extra
    return described
