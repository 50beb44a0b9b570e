"""A client of the application in this process, on a state folder."""

from __future__ import annotations

import asyncio
import queue
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from service.client.http import refusal
from service.settings import Settings


class LocalClient:
    """A client of the application in this process, on the state folder of the settings.

    Its event loop runs in a thread of its own.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ANN401
        """For `local_client`, which callers use."""
        self._app = app
        self._loop = loop

    def stream(self, method: str, path: str, body: bytes | None = None) -> Iterator[bytes]:
        """See `Client`."""
        pieces: queue.Queue[Mapping[str, Any] | BaseException | None] = queue.Queue(8)
        answered = asyncio.run_coroutine_threadsafe(
            self._answer(method, path, body or b"", pieces), self._loop
        )
        status, refused = 200, b""
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise click.ClickException(f"a fault of the service: {piece}")
            status = piece.get("status", status)
            if status == 200 and piece.get("body"):
                yield piece["body"]
            elif status != 200:
                refused += piece.get("body", b"")
        answered.result()
        if status != 200:
            raise refusal(status, refused)

    async def _answer(
        self,
        method: str,
        path: str,
        body: bytes,
        pieces: queue.Queue[Mapping[str, Any] | BaseException | None],
    ) -> None:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": urllib.parse.unquote(raw),
            "raw_path": raw.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json")] if body else [],
        }
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                # The client stays until the answer is there.
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            await asyncio.to_thread(pieces.put, message)

        try:
            await self._app(scope, receive, send)
        except Exception as error:
            await asyncio.to_thread(pieces.put, error)
        finally:
            await asyncio.to_thread(pieces.put, None)


@contextmanager
def local_client(settings: Settings) -> Iterator[LocalClient]:
    """The application opened over the settings' bundle and state folder, closed in order."""
    # They take their time, and are not needed to talk to a server.
    from service.app import create_app
    from service.encoding.encoder import Encoder
    from service.encoding.session import Wish

    encoder = Encoder.open(settings.bundle, threads=settings.threads, wish=Wish.of(settings))
    app = create_app(settings, encoder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="application")
    thread.start()
    lifespan = app.router.lifespan_context(app)
    try:
        asyncio.run_coroutine_threadsafe(_enter(lifespan), loop).result()
        try:
            yield LocalClient(app, loop)
        finally:
            asyncio.run_coroutine_threadsafe(_leave(lifespan), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _enter(lifespan: Any) -> None:  # noqa: ANN401
    await lifespan.__aenter__()


async def _leave(lifespan: Any) -> None:  # noqa: ANN401
    await lifespan.__aexit__(None, None, None)
