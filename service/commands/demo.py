"""`polygrain demo`: something to search and to draw in the first minute."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import click

from service.commands.server import DEFAULT_URL
from service.settings import read_settings


@click.command()
@click.option("--url", help=f"The running server to load it into.  [default: {DEFAULT_URL}]")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Load it into this folder of collections instead, which no server holds.",
)
@click.option(
    "--collection", default="demo", show_default=True, help="The collection to load it into."
)
def demo(url: str | None, state_dir: Path | None, collection: str) -> None:
    """Fill a collection with the demonstration: 144 short passages.

    Twelve subjects, each in twelve languages. Loading it again changes nothing.
    """
    if url is not None and state_dir is not None:
        raise click.UsageError("--url and --state-dir exclude each other; give one")
    from service.client.http import Client, HttpClient, ask
    from service.client.in_process import local_client
    from service.demo import passages

    path = f"/collections/{quote(collection, safe='')}"
    with ExitStack() as stack:
        client: Client = (
            HttpClient(url or DEFAULT_URL)
            if state_dir is None
            else stack.enter_context(local_client(read_settings({"state_dir": state_dir})))
        )
        ask(client, "PUT", path, {})
        written = ask(client, "POST", f"{path}/documents", {"documents": passages()})
    languages = {item["language"] for item in written["items"]}
    then = (
        f"open {(url or DEFAULT_URL).rstrip('/')}/#search/{collection}"
        if state_dir is None
        else f"ask it with polygrain collection search {collection} --state-dir {state_dir}"
    )
    click.echo(
        f"{len(written['items'])} passages in {len(languages)} languages are in the collection "
        f"{collection}; {then}"
    )
