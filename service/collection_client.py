"""Two ways to the same API: over HTTP to a running server, or to the application in this process.

So the commands on collections are written once, and a folder and a server answer them alike.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import queue
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol

import click
import orjson

from service.settings import API_KEY_VARIABLE, Settings

_JSON = {"Content-Type": "application/json"}
_PIECE_BYTES = 1 << 16
_TIMEOUT_S = 3_600


class Client(Protocol):
    """Somebody who answers requests on collections."""

    def stream(self, method: str, path: str, body: bytes | None = None) -> Iterator[bytes]:
        """The answer's body in pieces; ClickException with the server's message if it refuses."""
        ...


def ask(client: Client, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
    """The answer to one request, as JSON values."""
    sent = None if body is None else orjson.dumps(body)
    return orjson.loads(b"".join(client.stream(method, path, sent)))


class HttpClient:
    """A client of a running server."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.BadParameter(f"{url!r} is no address of a server", param_hint="--url")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._url, self._prefix = url, parts.path.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def stream(self, method: str, path: str, body: bytes | None = None) -> Iterator[bytes]:
        """See `Client`."""
        with self.answer(method, path, body, {} if body is None else _JSON) as response:
            while piece := response.read(_PIECE_BYTES):
                yield piece

    @contextmanager
    def answer(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, to read from; ClickException if the server refuses."""
        try:
            sent = dict(headers or {})
            if key := os.environ.get(API_KEY_VARIABLE):
                sent["Authorization"] = f"Bearer {key}"
            self._connection.request(method, self._prefix + path, body, sent)
            response = self._connection.getresponse()
            if response.status >= 300:
                raise refusal(response.status, response.read())
            yield response
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise click.ClickException(
                f"no answer from {self._url} ({error}); is a server running there?"
            ) from None


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


def refusal(status: int, body: bytes) -> click.ClickException:
    """What a server's refusal is for the user of a command."""
    try:
        return click.ClickException(str(orjson.loads(body)["error"]["message"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return click.ClickException(f"the server answered {status}: {body[:200]!r}")
