"""`polygrain align`: what two files have in common."""

from __future__ import annotations

from pathlib import Path
from typing import IO, get_args

import click

from service.api.align_schemas import MOST_MERGED, LevelName, MethodName, ScoreName
from service.commands.options import (
    bundle_option,
    finite,
    granularity_option,
    model_options,
    neighbours_option,
    skip_blank_option,
    threads_option,
    two_languages,
)
from service.settings import read_settings


@click.command()
@click.argument("source", type=click.File("rb"))
@click.argument("target", type=click.File("rb"))
@granularity_option
@click.option(
    "--level",
    type=click.Choice(get_args(LevelName)),
    default="text",
    show_default=True,
    help="Lines in any order; sentences of documents, in order; or words of parallel lines.",
)
@click.option("--raw", is_flag=True, help="Each file is one text, to be split into sentences.")
@click.option(
    "--method",
    type=click.Choice(get_args(MethodName)),
    help="How pairs are chosen.  [default: one_to_one; argmax for words]",
)
@click.option(
    "--score",
    type=click.Choice(get_args(ScoreName)),
    help="What pairs are ranked by.  [default: margin_ratio; cosine for words]",
)
@neighbours_option("-k")
@click.option(
    "--threshold",
    type=float,
    callback=finite,
    help="Leave pairs with a lower score out.",
)
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    callback=finite,
    help="Leave less likely pairs out; for bundles that are calibrated.",
)
@click.option(
    "--languages",
    metavar="A,B",
    callback=two_languages,
    help="The languages of SOURCE and TARGET, such as en,de.",
)
@click.option(
    "--max-merge",
    type=click.IntRange(1, MOST_MERGED),
    default=4,
    show_default=True,
    help="Neighbouring sentences of a document that may be taken as one.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tsv", "jsonl"]),
    default="tsv",
    show_default=True,
    help="What is written to standard output.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page too, with both sides, lines between them, and scores.",
)
@skip_blank_option
@bundle_option
@model_options
@threads_option
def align(
    source: IO[bytes],
    target: IO[bytes],
    granularity: str,
    level: str,
    raw: bool,
    method: str | None,
    score: str | None,
    k: int,
    threshold: float | None,
    min_probability: float | None,
    languages: tuple[str, str] | None,
    max_merge: int,
    form: str,
    page: Path | None,
    skip_blank: bool,
    **given: object,
) -> None:
    """Pair what SOURCE and TARGET have in common: lines, sentences of documents, or words.

    Writes tab-separated lines: score, cosine, number in SOURCE, number in TARGET, source text,
    target text; lines in any order the best first, sentences of documents in order. Of words:
    cosine, line, where they begin and end in the source, the same in the target, source word,
    target word. A tab inside a text is written as a space.
    """
    settings = read_settings(given)
    from service.alignment.wanted import Wanted
    from service.commands.align_files import Output, align_files
    from service.commands.files import Reading

    wanted = Wanted.of(
        level,
        method,
        score,
        k=k,
        threshold=threshold,
        min_probability=min_probability,
        languages=languages,
        max_merge=max_merge,
    )
    reading = Reading(granularity, skip_blank=skip_blank)
    align_files(source, target, reading, wanted, settings, Output(form, page), raw=raw)
