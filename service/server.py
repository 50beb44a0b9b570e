"""One process that serves: the model opened, a uvicorn server over it, an orderly end."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import State
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.app import create_app
from service.encoding.encoder import Encoder
from service.processes.following import follow
from service.processes.report import Report
from service.processes.siblings import Text, among
from service.settings import Settings
from service.swapping import Swapper, opener

logger = logging.getLogger(__name__)

# Bytes of a request's line and headers together.
MAX_HEAD_BYTES = 65_536

# Longer than load balancers keep an idle connection, usually 60 s, so that the side that knows of
# the next request is the side that closes.
_KEEP_ALIVE_S = 75

# How long a thread may hold the interpreter before another gets it. Python's own 5 ms is longer
# than a phrase takes, and the event loop would wait so long whenever a large request is tokenised.
_SWITCH_INTERVAL_S = 0.001


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP protocol, but a request whose headers have no end is refused."""

    # Bytes since the last request was complete; None while a body is read.
    _head_bytes: int | None = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came; close the connection with 431 where a head grows beyond the limit."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"Connection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is whole: what follows is a body."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole: what follows is the next head."""
        self._head_bytes = 0
        super().on_message_complete()


def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    when_warm: Callable[[Encoder], None],
    report: Report | None = None,
    sockets: Path | None = None,
) -> None:
    """Open the bundle, then serve it on `listener` until SIGTERM or SIGINT; in the main thread.

    `when_warm` is called once the model has run, before a connection is accepted. Where `report`
    is given, this is one of several workers, which have `sockets` as a folder to themselves: the
    supervisor's end is as good as a signal, and the bundle changes in all of them or in none.
    Raises BundleError where the bundle cannot be
    served, SettingsError where this machine cannot compute it the way that was asked for.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    open_warm = opener(settings)

    def stop() -> None:
        server.should_exit = True

    @asynccontextmanager
    async def join(state: State, own_metrics: Text) -> AsyncIterator[None]:
        if report is None or sockets is None:
            yield
            return
        follow(report.control, state, stop)
        async with among(sockets, report.number, own_metrics) as state.metrics_text:
            yield

    app = create_app(settings, open_warm(settings.bundle.resolve()), open_warm, join)
    server = _server(settings, app)
    # For answers that have no end of their own.
    app.state.is_stopping = lambda: server.should_exit
    # What is there now stays: no collection of garbage needs to walk it again and again.
    gc.freeze()
    gc.enable()
    when_warm(app.state.encoder)
    if report is None and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: _reload(app))
    try:
        server.run(sockets=[listener])
    finally:
        logger.info("stopped")


def _reload(app: Starlette) -> None:
    # Before the application has started there is none: the bundle has just been read.
    swapper: Swapper | None = getattr(app.state, "swapper", None)
    if swapper is not None:
        swapper.reload_soon()


def _server(settings: Settings, app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            http=BoundedHead,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )
