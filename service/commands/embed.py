"""`polygrain embed`: the vectors of a file's lines."""

from __future__ import annotations

from pathlib import Path
from typing import IO, get_args

import click

from service.api.schemas import LongTextName
from service.commands.options import (
    bundle_option,
    granularity_option,
    model_options,
    skip_blank_option,
    threads_option,
)
from service.settings import read_settings


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@granularity_option
@click.option("--adapter", help="An adapter by name, instead of a granularity.")
@click.option(
    "--long-text",
    type=click.Choice(get_args(LongTextName)),
    default="window",
    show_default=True,
    help="What becomes of a text longer than its adapter takes.",
)
@click.option("--normalize/--no-normalize", default=True, help="Whether vectors have length 1.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a float32 array, one row for each text, instead of JSON lines.",
)
@skip_blank_option
@bundle_option
@model_options
@threads_option
def embed(
    file: IO[bytes],
    granularity: str,
    adapter: str | None,
    long_text: str,
    normalize: bool,
    out: Path | None,
    skip_blank: bool,
    **given: object,
) -> None:
    """Embed the lines of FILE (or - for standard input), each line a text.

    Writes JSON lines with the line's number, its vector and how it was embedded, or with
    --out X.npy an array. A blank line is an error unless --skip-blank; then an array has no row
    for it.
    """
    if out is not None and out.suffix != ".npy":
        raise click.BadParameter(f"{out} does not end in .npy", param_hint="--out")
    if adapter is not None and granularity != "auto":
        raise click.UsageError("--adapter and --granularity exclude each other; give one")
    settings = read_settings(given)
    from service.commands.files import Reading, embed_lines
    from service.encoding.encoder import Options
    from service.encoding.tokenizer import LongText

    reading = Reading(granularity, adapter, skip_blank)
    embed_lines(file, reading, Options(LongText(long_text), normalize), out, settings)
