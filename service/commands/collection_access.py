"""Where the collections of a command are, and how it asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from service.commands.options import Command, bundle_option, threads_option
from service.settings import read_settings

if TYPE_CHECKING:
    from service.client.http import Client


def where(command: Command) -> Command:
    """The options that say where collections are."""
    for option in (
        threads_option,
        bundle_option,
        click.option(
            "--state-dir",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the collections.  [default: ~/.local/share/polygrain]",
        ),
        click.option("--url", help="Address of a running server to ask instead."),
    ):
        command = option(command)
    return command


@contextmanager
def collections_of(given: dict[str, Any]) -> Iterator[Client]:
    """Who answers for the collections that the options of `where` name."""
    from service.client.http import HttpClient
    from service.client.in_process import local_client

    url = given.pop("url")
    if url is None:
        with local_client(read_settings(given)) as client:
            yield client
        return
    if extra := [name for name, value in given.items() if value is not None]:
        option = extra[0].replace("_", "-")
        raise click.UsageError(f"--{option} is of the server at --url; leave one of them out")
    with closing(HttpClient(url)) as client:
        yield client


def ask_collections(given: dict[str, Any], method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
    """The answer to one request."""
    from service.client.http import ask

    with collections_of(given) as client:
        return ask(client, method, path, body)


def collection_path(name: str, rest: str = "") -> str:
    """The address of a collection, or of something in it."""
    return f"/collections/{quote(name, safe='')}{rest}"
