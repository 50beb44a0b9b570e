"""The application: routes, their engine, and the one translation of errors to HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api import (
    admin,
    align,
    collection_documents,
    collection_map,
    collection_search,
    collections,
    embed,
    files,
    jobs,
    openai,
    ops,
    similarity,
    tei,
)
from service.api.documentation import Operation, documentation_routes, operation_routes
from service.api.requests import Service
from service.api.responses import write_json
from service.api.web import web_routes
from service.encoding.encoder import Encoder
from service.errors import MethodNotAllowed, NotFound, PolygrainError, quote
from service.jobs.folder import Jobs
from service.jobs.runner import Runner
from service.metrics import Metrics
from service.middleware import middleware_of
from service.retrieval.work import CollectionWork
from service.security.guard import Guard
from service.settings import Settings
from service.swapping import OpenWarm, Swapper, engine_of, opener
from service.telemetry import REQUEST_ID_HEADER, request_id

# Given the application's state and its own metrics, on the event loop.
Join = Callable[[State, Callable[[], Awaitable[bytes]]], AbstractAsyncContextManager[None]]

OPERATIONS = (
    *embed.OPERATIONS,
    *similarity.OPERATIONS,
    *align.OPERATIONS,
    *openai.OPERATIONS,
    *tei.OPERATIONS,
    *collections.OPERATIONS,
    *collection_documents.OPERATIONS,
    *collection_search.OPERATIONS,
    *collection_map.OPERATIONS,
    *files.OPERATIONS,
    *jobs.OPERATIONS,
    *ops.OPERATIONS,
    *admin.OPERATIONS,
)

# Paths whose clients expect errors of another shape than ours.
_SHAPES = {"/v1/": openai.error_shape, "/tei": tei.error_shape}


def create_app(
    settings: Settings,
    encoder: Encoder,
    open_warm: OpenWarm | None = None,
    join: Join | None = None,
) -> Starlette:
    """The service over an opened encoder; it takes requests between startup and shutdown.

    `open_warm` opens another bundle when one is asked for; by default the way that the settings
    ask for. `join` lets the application work with others like it while it runs. Raises
    SettingsError where the settings of keys or traces cannot be used.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        swapper = Swapper(app.state, settings, open_warm or opener(settings))
        app.state.swapper, app.state.use_bundle = swapper, swapper.use
        # Workers of one supervisor are one server: they share the collections.
        owner = os.getppid() if settings.workers > 1 else os.getpid()
        work = CollectionWork(settings.state_dir, owner)
        # The runner asks for the service anew for each job: another engine may take its place.
        runner = Runner(kept := Jobs(settings), lambda: jobs.context_of(app.state.service))
        # Kept there alone, so that an encoder is freed once another has taken its place.
        app.state.service = Service(
            settings, engine_of(settings, app.state.encoder), work, kept, runner
        )
        metrics.watch_queue(swapper.queue_states, settings.batch_tokens)
        metrics.watch_recall(work.collections.recalls)
        metrics.watch_jobs(kept.counts)
        runner.start()
        try:
            async with join(app.state, metrics_text) if join else nullcontext():
                yield
        finally:
            try:
                # First, so that no job keeps the engine from coming to an end.
                await runner.close()
                await swapper.close()
            finally:
                await work.close()

    async def metrics_text() -> bytes:
        return await asyncio.to_thread(metrics.text)

    app = Starlette(
        routes=[
            *operation_routes([_opened(operation, settings) for operation in OPERATIONS]),
            *documentation_routes(OPERATIONS),
            *web_routes(),
        ],
        middleware=middleware_of(settings, metrics.observe),
        exception_handlers=dict.fromkeys((PolygrainError, HTTPException, Exception), _answer),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.guard, app.state.encoder = Guard(settings), encoder
    app.state.metrics, app.state.metrics_text = metrics, metrics_text
    # Whether the server waits for what it answers to come to an end; `service.server` knows.
    app.state.is_stopping = lambda: False
    return app


def _opened(operation: Operation, settings: Settings) -> Operation:
    if operation.path == admin.METRICS and settings.open_metrics:
        return replace(operation, scope="open")
    return operation


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case PolygrainError():
            return _response(request, error)
        case HTTPException():
            return _response(request, _routing_error(request, error), dict(error.headers or {}))
        case _:
            # The server logs the traceback; the caller gets the id to ask about.
            identity = request_id(request)
            fault = PolygrainError(f"a fault of the service; report request id {identity}")
            return _response(request, fault, {REQUEST_ID_HEADER: identity})


def _routing_error(request: Request, error: HTTPException) -> PolygrainError:
    """What the framework refuses by itself: unknown paths and methods."""
    path = quote(request.url.path)
    if error.status_code == 404:
        return NotFound(f"there is nothing at {path}; /docs lists the paths")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowed(f"{path} does not take {request.method}; use {allowed}")
    return PolygrainError(f"{error.detail} at {path}")


def _response(
    request: Request, error: PolygrainError, headers: dict[str, str] | None = None
) -> Response:
    # A message may repeat half of a character that came in a path; "replace" makes it text.
    message = error.message.encode(errors="replace").decode()
    path = request.scope["path"]
    shape = next((shape for prefix, shape in _SHAPES.items() if path.startswith(prefix)), None)
    if shape is not None:
        status, content = shape(error, message)
    else:
        detail = {"type": error.type, "code": error.code, "message": message, "param": error.param}
        status, content = error.status, {"error": detail}
    return Response(
        write_json(content),
        status,
        {**error.headers(), **(headers or {})},
        media_type="application/json",
    )
