"""`polygrain bundle` and `polygrain info`: what a bundle is, and which is served."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from models.bundle import Bundle
from service.commands.options import bundle_option, model_options
from service.settings import read_settings

# Opening and warming a large bundle may take minutes.
_PATIENCE_S = 600


@click.group(name="bundle")
def bundle_group() -> None:
    """Look after bundles."""


@bundle_group.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--url", help="The service.  [default: where the settings say it listens]")
def use(path: Path | None, url: str | None) -> None:
    """Have a running service serve the bundle at PATH, without a failed request.

    Without PATH, the one that it was started with, read anew. Where the service asks for keys,
    POLYGRAIN_API_KEY holds one with the scope admin. A relative PATH counts from here; the service
    opens it on its own machine.
    """
    from service.client.http import HttpClient, ask

    settings = read_settings()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = url or f"http://{host}:{settings.port}"
    body = {"path": None if path is None else str(path.absolute())}
    with closing(HttpClient(address, timeout_s=_PATIENCE_S)) as client:
        served = ask(client, "POST", "/admin/bundle", body)
    click.echo(f"OK {served['name']} {served['version']} is served at {address}")


@bundle_group.command()
@click.argument("path", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Check every file of the bundle at PATH against its manifest."""
    manifest = Bundle.open(path).manifest
    click.echo(f"OK {manifest.name} {manifest.version}: {len(manifest.files)} files match")


@click.command()
@bundle_option
@model_options
def info(**given: object) -> None:
    """Describe the bundle and the limits, as the service's /info does."""
    settings = read_settings(given)
    import orjson

    from service.api.ops import describe
    from service.encoding.session import Wish, choose, look

    manifest = Bundle.open(settings.bundle).manifest
    wish = Wish.of(settings)
    choice = choose(wish, look(wish), manifest)
    click.echo(orjson.dumps(describe(manifest, choice, settings), option=orjson.OPT_INDENT_2))
