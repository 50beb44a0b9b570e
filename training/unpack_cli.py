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
@click.option(
    "--layers",
    type=click.IntRange(min=1),
    help="only the first layers of its backbone, a weak and quick one for ablations",
)
def unpack_command(bundle: Path, run: Path, layers: int | None) -> None:
    """Write the run that a bundle was exported from: its backbone and its adapters, to the bit."""
    from training.unpack import BACKBONE_FOLDER, unpack, unpack_first_layers

    if layers is not None:
        click.echo(f"wrote {unpack_first_layers(bundle, run, layers)}", err=True)
        return
    recipe = unpack(bundle, run)
    click.echo(f"wrote {run / BACKBONE_FOLDER} and {', '.join(recipe.served)}", err=True)
