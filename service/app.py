"""The application: routes, their engine, and the one translation of errors to HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from service.api import (
    align,
    collection_documents,
    collection_search,
    collections,
    embed,
    files,
    jobs,
    ops,
    similarity,
)
from service.api.documentation import documentation_routes, operation_routes
from service.api.requests import Service
from service.api.responses import write_json
from service.encoding.encoder import Encoder, Engine
from service.errors import MethodNotAllowed, NotFound, PolygrainError, quote
from service.jobs.folder import Jobs
from service.jobs.runner import Runner
from service.retrieval.work import CollectionWork
from service.settings import Settings
from service.telemetry import REQUEST_ID_HEADER, RequestLog, request_id

OPERATIONS = (
    *embed.OPERATIONS,
    *similarity.OPERATIONS,
    *align.OPERATIONS,
    *collections.OPERATIONS,
    *collection_documents.OPERATIONS,
    *collection_search.OPERATIONS,
    *files.OPERATIONS,
    *jobs.OPERATIONS,
    *ops.OPERATIONS,
)


def create_app(settings: Settings, encoder: Encoder) -> Starlette:
    """The service over an opened encoder; it takes requests between startup and shutdown."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine = Engine(
            encoder,
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
            shared_batch_tokens=settings.shared_batch_tokens,
            model_threads=settings.model_threads,
            cache_bytes=settings.cache_bytes,
        )
        # Workers of one supervisor are one server: they share the collections.
        owner = os.getppid() if settings.workers > 1 else os.getpid()
        work = CollectionWork(settings.state_dir, owner)
        # The runner asks for the service anew for each job: another engine may take its place.
        runner = Runner(kept := Jobs(settings), lambda: jobs.context_of(app.state.service))
        app.state.service = Service(settings, engine, work, kept, runner)
        runner.start()
        try:
            yield
        finally:
            try:
                # First, so that no job keeps the engine from coming to an end.
                await runner.close()
                await engine.close()
            finally:
                await work.close()

    app = Starlette(
        routes=[*operation_routes(OPERATIONS), *documentation_routes(OPERATIONS)],
        middleware=[Middleware(RequestLog)],
        exception_handlers=dict.fromkeys((PolygrainError, HTTPException, Exception), _answer),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    # Whether the server waits for what it answers to come to an end; `service.server` knows.
    app.state.is_stopping = lambda: False
    return app


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case PolygrainError():
            return _response(error)
        case HTTPException():
            return _response(_routing_error(request, error), dict(error.headers or {}))
        case _:
            # The server logs the traceback; the caller gets the id to ask about.
            identity = request_id(request)
            fault = PolygrainError(f"a fault of the service; report request id {identity}")
            return _response(fault, {REQUEST_ID_HEADER: identity})


def _routing_error(request: Request, error: HTTPException) -> PolygrainError:
    """What the framework refuses by itself: unknown paths and methods."""
    path = quote(request.url.path)
    if error.status_code == 404:
        return NotFound(f"there is nothing at {path}; /docs lists the paths")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowed(f"{path} does not take {request.method}; use {allowed}")
    return PolygrainError(f"{error.detail} at {path}")


def _response(error: PolygrainError, headers: dict[str, str] | None = None) -> Response:
    detail = {
        "type": error.type,
        "code": error.code,
        # A message may repeat half of a character that came in a path; "replace" makes it text.
        "message": error.message.encode(errors="replace").decode(),
        "param": error.param,
    }
    return Response(
        write_json({"error": detail}),
        error.status,
        {**error.headers(), **(headers or {})},
        media_type="application/json",
    )
