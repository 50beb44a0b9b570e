"""`polygrain keys`: make API keys, see which there are, take them back."""

from __future__ import annotations

from pathlib import Path

import click

from service.security.files import changed_file, read_file
from service.security.keys import NAME, SCOPES, BadKeyEntry, Key, digest_of, make_secret, scopes_of
from service.settings import read_settings

_file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of keys.  [default: POLYGRAIN_KEYS_FILE]",
)


@click.group(name="keys")
def keys_group() -> None:
    """Make, list and revoke API keys.

    A running service sees a changed file within a second.
    """


@keys_group.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read",),
    show_default=True,
    help="What the key may do; give it once for each. read: ask for vectors, pairs, searches. "
    "write: change collections and jobs. admin: change the bundle that is served.",
)
@click.option(
    "--requests-per-minute", type=click.IntRange(0), help="0: none.  [default: the service's]"
)
@click.option(
    "--tokens-per-minute", type=click.IntRange(0), help="0: none.  [default: the service's]"
)
@click.option(
    "--print-only", is_flag=True, help="Write no file; show the entry, for POLYGRAIN_KEYS."
)
@_file_option
def create(
    name: str,
    scopes: tuple[str, ...],
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    print_only: bool,
    file: Path | None,
) -> None:
    """Make a key named NAME and show it, once: only its SHA-256 is kept."""
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is no name; use 1 to 32 of a-z, 0-9 and -")
    secret = make_secret(name)
    allowed = scopes_of(scopes, name)
    key = Key(name, allowed, digest_of(secret), requests_per_minute, tokens_per_minute)
    if print_only:
        click.echo(f"POLYGRAIN_KEYS entry: {key.entry()}", err=True)
    else:
        path = _path(file)
        try:
            with changed_file(path) as keys:
                if name in keys:
                    raise BadKeyEntry(f"{path} has a key named {name}; revoke it, or take a name")
                keys[name] = key
        except (BadKeyEntry, OSError) as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"Added {name} to {path}. This is the key, shown only now:", err=True)
    click.echo(secret)


@keys_group.command(name="list")
@_file_option
def list_keys(file: Path | None) -> None:
    """Show the keys, tab-separated: name, scopes, requests a minute, tokens a minute.

    A limit of - is the service's.
    """
    try:
        keys = read_file(_path(file))
    except BadKeyEntry as error:
        raise click.ClickException(str(error)) from None
    for key in keys.values():
        scopes = ",".join(scope for scope in SCOPES if scope in key.scopes)
        limits = (key.requests_per_minute, key.tokens_per_minute)
        shown = ["-" if limit is None else str(limit) for limit in limits]
        click.echo("\t".join([key.name, scopes, *shown]))


@keys_group.command()
@click.argument("name")
@_file_option
def revoke(name: str, file: Path | None) -> None:
    """Take the key named NAME back."""
    path = _path(file)
    try:
        if name not in read_file(path):
            raise BadKeyEntry(f"{path} has no key named {name}; `polygrain keys list` shows them")
        with changed_file(path) as keys:
            keys.pop(name, None)
    except (BadKeyEntry, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Revoked {name}")


def _path(given: Path | None) -> Path:
    path = given or read_settings().keys_file
    if path is None:
        raise click.UsageError("name the file of keys: --file FILE, or POLYGRAIN_KEYS_FILE")
    return path
