"""What commands ask of a running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from service.commands.options import Command

if TYPE_CHECKING:
    from service.client.http import HttpClient

DEFAULT_URL = "http://127.0.0.1:8080"


def url_option(command: Command) -> Command:
    """Which server."""
    return click.option(
        "--url",
        envvar="POLYGRAIN_URL",
        default=DEFAULT_URL,
        show_default=True,
        help="Address of the server.",
    )(command)


@contextmanager
def server_at(url: str) -> Iterator[HttpClient]:
    """A connection to it."""
    from service.client.http import HttpClient

    with closing(HttpClient(url)) as client:
        yield client


def ask_server(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
    """The answer to one request, over a connection of its own."""
    from service.client.http import ask

    with server_at(url) as client:
        return ask(client, method, path, body)
