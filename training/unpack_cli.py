"""`polygrain-train unpack`: the run behind a bundle, for training on from it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("unpack")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="a bundle on a backbone of `polygrain-train backbone`",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="the run to write; must not exist",
)
def unpack_command(bundle: Path, run: Path) -> None:
    """Write the run that a bundle was exported from: its backbone and its adapters, to the bit."""
    from training.unpack import BACKBONE_FOLDER, unpack

    recipe = unpack(bundle, run)
    click.echo(f"wrote {run / BACKBONE_FOLDER} and {', '.join(recipe.served)}", err=True)
