"""`polygrain jobs submit`: a job of each kind, with its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import click
import orjson

from service.api.align_schemas import ScoreName
from service.api.collection_schemas import KnownGranularity
from service.api.collection_schemas import ScoreName as RankName
from service.api.job_schemas import ArrayOrOutputName, FormatName, HitFieldName, OutputName
from service.api.schemas import EncodingName, LongTextName, TextGranularity
from service.commands.jobs_following import watch_job
from service.commands.options import Command, filter_option
from service.commands.server import ask_server, server_at, url_option


@click.group()
def submit() -> None:
    """Submit a job; prints its id."""


def _job_options(output: Any, default: str) -> Callable[[Command], Command]:  # noqa: ANN401
    """What every job takes."""

    def add(command: Command) -> Command:
        for option in (
            url_option,
            click.option("--watch", "watched", is_flag=True, help="Wait for its end."),
            click.option(
                "--path",
                "on_server",
                is_flag=True,
                help="Files are paths in the server's data folder; nothing is uploaded.",
            ),
            click.option("--max-errors", type=click.IntRange(0), help="More bad rows end the job."),
            click.option("--text-column", default="text", show_default=True),
            click.option("--id-column", default="id", show_default=True),
            click.option(
                "--format",
                "format_",
                type=click.Choice(get_args(FormatName)),
                help="What the files hold.  [default: by their endings]",
            ),
            click.option(
                "--output",
                type=click.Choice(get_args(output)),
                default=default,
                show_default=True,
                help="Format of the results.",
            ),
        ):
            command = option(command)
        return command

    return add


@submit.command()
@click.argument("file")
@click.option("--granularity", type=click.Choice(get_args(TextGranularity)))
@click.option("--adapter", help="An adapter by name, instead of a granularity.")
@click.option("--long-text", type=click.Choice(get_args(LongTextName)))
@click.option("--dimensions", type=int)
@click.option("--encoding", type=click.Choice(get_args(EncodingName)))
@click.option("--no-normalize", is_flag=True, help="Vectors as they are, of any length.")
@_job_options(ArrayOrOutputName, "parquet")
def embed(file: str, no_normalize: bool, **given: Any) -> None:  # noqa: ANN401
    """Embed the texts of FILE."""
    _submit("embed", {"input": file}, given, {"normalize": False} if no_normalize else {})


@submit.command()
@click.argument("file")
@click.argument("collection")
@click.option("--prefix", help="Before the number of a row, its id where it has none.")
@click.option("--language", help="Of rows that name none.  [default: told from the text]")
@click.option("--granularity", type=click.Choice(get_args(TextGranularity)))
@_job_options(OutputName, "jsonl")
def index(file: str, **given: Any) -> None:  # noqa: ANN401
    """Write the texts of FILE into COLLECTION, which is there."""
    _submit("index", {"input": file}, given)


@submit.command()
@click.argument("file")
@click.argument("collection")
@click.option("--top-k", type=click.IntRange(1, 1_000))
@click.option("--score", type=click.Choice(get_args(RankName)))
@click.option("--min-score", type=float)
@click.option("--granularity", type=click.Choice(get_args(TextGranularity)))
@click.option("--language", "languages", multiple=True, help="Only this; may be given again.")
@filter_option
@click.option("--balance", is_flag=True, help="From all languages as evenly as they go.")
@click.option("--include", type=click.Choice(get_args(HitFieldName)), multiple=True)
@_job_options(OutputName, "jsonl")
def retrieve(
    file: str,
    languages: tuple[str, ...],
    condition: object | None,
    include: tuple[str, ...],
    **given: Any,  # noqa: ANN401
) -> None:
    """Find the documents of COLLECTION that are nearest to each text of FILE."""
    given |= {"languages": list(languages) or None, "include": list(include) or None}
    given["filter"] = condition
    _submit("retrieve", {"input": file}, given)


@submit.command()
@click.argument("source")
@click.argument("target")
@click.option("--langs", help="The two languages, like en,fr: whose calibration to use.")
@click.option("--score", type=click.Choice(get_args(ScoreName)))
@click.option("-k", "k", type=click.IntRange(1, 1_000))
@click.option("--threshold", type=float, help="Leave pairs with a lower score out.")
@click.option("--min-probability", type=click.FloatRange(0, 1))
@click.option("--granularity", type=click.Choice(get_args(KnownGranularity)))
@_job_options(OutputName, "tsv")
def align(source: str, target: str, langs: str | None, **given: Any) -> None:  # noqa: ANN401
    """Find the texts of SOURCE and TARGET that are translations of each other."""
    given["languages"] = None if langs is None else [each.strip() for each in langs.split(",")]
    _submit("align", {"source": source, "target": target}, given)


def _submit(
    kind: str, files: dict[str, str], given: dict[str, Any], more: dict[str, Any] | None = None
) -> None:
    url, watched, on_server = given.pop("url"), given.pop("watched"), given.pop("on_server")
    own = {"format": given.pop("format_")}
    own |= {name: given.pop(name) for name in ("text_column", "id_column")}
    body: dict[str, Any] = {"type": kind} | _sent(given) | (more or {})
    for side, file in files.items():
        where = {"path": file} if on_server else {"file": _upload(url, Path(file))}
        body[side] = where | _sent(own)
    job = ask_server(url, "POST", "/jobs", body)
    click.echo(job["id"])
    if watched:
        watch_job(url, job["id"])


def _sent(values: dict[str, Any]) -> dict[str, Any]:
    # Not by equality: 0 is a value.
    return {
        name: value for name, value in values.items() if value is not None and value is not False
    }


def _upload(url: str, path: Path) -> str:
    """Send a file; its id there."""
    if not path.is_file():
        raise click.ClickException(f"there is no file {path}")
    with path.open("rb") as file:
        query = {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        target = f"/files?{urlencode(query)}"
        with server_at(url) as client, client.answer("POST", target, file, headers) as response:
            return str(orjson.loads(response.read())["id"])
