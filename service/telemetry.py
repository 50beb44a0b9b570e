"""What the service tells its operator: one line for each request, never a caller's text."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_LOGGED_PATH_CHARACTERS = 100


@dataclass(slots=True)
class Work:
    """How much a request asked for, and how much was done; its handler counts."""

    items: int = 0
    tokens: int = 0
    # The path as the table of operations has it, and the name of the key; None before they are
    # known.
    route: str | None = None
    caller: str | None = None


# Told of each request that ended: its work, method, status, and the seconds that it took.
Observer = Callable[[Work, str, int, float], None]


def configure_logging(level: str, *, processes: bool = False) -> None:
    """Send every logger's lines of at least `level` to standard error, `processes` told apart."""
    # What no line shows is not looked up for each, as logging's own manual advises for speed.
    logging.logThreads = logging.logMultiprocessing = False
    origin = "%(name)s[%(process)d]" if processes else "%(name)s"
    logging.basicConfig(
        level=level.upper(), format=f"%(asctime)s %(levelname)s {origin} %(message)s", force=True
    )
    # Its lines on starting and stopping are ours already.
    # And which build of FAISS is loaded is nobody's concern who reads a log.
    for name in ("uvicorn", "faiss"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def count(request: Request, *, items: int = 0, tokens: int = 0) -> None:
    """Add to the size of a request's work in its log line; items before they can fail."""
    work: Work = request.state.work
    work.items += items
    work.tokens += tokens


def request_id(request: Request) -> str:
    """The id under which a request is logged."""
    return str(request.state.request_id)


class RequestLog:
    """Middleware that gives each request an id and one INFO line once it has ended.

    A client's own X-Request-ID is kept where it is short and plain; the response carries the id.
    """

    def __init__(self, app: ASGIApp, observe: Observer | None = None) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        offered = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        identity = offered if _REQUEST_ID.fullmatch(offered) else secrets.token_hex(16)
        work = Work()
        scope["state"] = {**scope.get("state", {}), "request_id": identity, "work": work}
        status = 500  # what an exception that passes here becomes
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                header = REQUEST_ID_HEADER.lower().encode(), identity.encode()
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            if self._observe is not None:
                self._observe(work, scope["method"], status, seconds)
            logger.info(
                "request id=%s method=%s path=%s status=%d duration_ms=%.1f items=%d tokens=%d"
                " key=%s",
                identity,
                scope["method"],
                # Quoted: a path may hold line breaks once it is decoded.
                quote(scope["path"])[:_LOGGED_PATH_CHARACTERS],
                status,
                seconds * 1_000,
                work.items,
                work.tokens,
                work.caller or "-",
            )
