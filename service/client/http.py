"""A client of a running server, with the key of the environment."""

from __future__ import annotations

import http.client
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol

import click
import orjson

from service.settings import API_KEY_VARIABLE

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

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Connects when it is first asked; `timeout_s` is how long an answer may take to begin."""
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.BadParameter(f"{url!r} is no address of a server", param_hint="--url")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._url, self._prefix = url, parts.path.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

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
                f"no service answers at {self._url}: {error}; start one with polygrain serve, or "
                "name it with --url"
            ) from None


def refusal(status: int, body: bytes) -> click.ClickException:
    """What a server's refusal is for the user of a command."""
    hint = f"; set {API_KEY_VARIABLE}" if status == 401 else ""
    try:
        return click.ClickException(f"{orjson.loads(body)['error']['message']}{hint}")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return click.ClickException(
            f"the server answered {status}: {body[:200]!r}; is it Polygrain?"
        )
