"""`polygrain jobs`: hand files to a running server, watch it work, fetch what came of it."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args
from urllib.parse import quote, urlencode

import click
import orjson

from service.api.align_schemas import ScoreName
from service.api.collection_schemas import KnownGranularity
from service.api.collection_schemas import ScoreName as RankName
from service.api.job_schemas import (
    ArrayOrOutputName,
    FormatName,
    HitFieldName,
    OutputName,
    StateName,
)
from service.api.schemas import EncodingName, LongTextName, TextGranularity

if TYPE_CHECKING:
    from service.collection_client import HttpClient

_Command = TypeVar("_Command", bound=Callable[..., None])

_DEFAULT_URL = "http://127.0.0.1:8080"
_ENDED = ("completed", "failed", "cancelled")
_PIECE_BYTES = 1 << 20
# How long a watcher goes on trying to reach a server that is away, and how often it tries.
_AWAY_S, _AGAIN_S = 300.0, 1.0


@click.group(name="jobs")
def jobs_group() -> None:
    """Work on whole files, on a running server: submit, watch, fetch.

    A job that was submitted is done, whatever happens to the server or to this command.
    """


def _url_option(command: _Command) -> _Command:
    return click.option(
        "--url",
        envvar="POLYGRAIN_URL",
        default=_DEFAULT_URL,
        show_default=True,
        help="Address of the server.",
    )(command)


@contextmanager
def _client(url: str) -> Iterator[HttpClient]:
    from service.collection_client import HttpClient

    with closing(HttpClient(url)) as client:
        yield client


def _ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
    from service.collection_client import ask

    with _client(url) as client:
        return ask(client, method, path, body)


def _path(id_: str, rest: str = "") -> str:
    return f"/jobs/{quote(id_, safe='')}{rest}"


@jobs_group.group()
def submit() -> None:
    """Submit a job; prints its id."""


def _job_options(output: Any, default: str) -> Callable[[_Command], _Command]:  # noqa: ANN401
    """What every job takes."""

    def add(command: _Command) -> _Command:
        for option in (
            _url_option,
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
@click.option("--filter", "condition", metavar="JSON", help="A condition on documents.")
@click.option("--balance", is_flag=True, help="From all languages as evenly as they go.")
@click.option("--include", type=click.Choice(get_args(HitFieldName)), multiple=True)
@_job_options(OutputName, "jsonl")
def retrieve(
    file: str,
    languages: tuple[str, ...],
    condition: str | None,
    include: tuple[str, ...],
    **given: Any,  # noqa: ANN401
) -> None:
    """Find the documents of COLLECTION that are nearest to each text of FILE."""
    given |= {"languages": list(languages) or None, "include": list(include) or None}
    if condition is not None:
        try:
            given["filter"] = orjson.loads(condition)
        except orjson.JSONDecodeError as error:
            raise click.BadParameter(f"it is not JSON: {error}", param_hint="--filter") from None
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
    job = _ask(url, "POST", "/jobs", body)
    click.echo(job["id"])
    if watched:
        _watch(url, job["id"])


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
        with _client(url) as client, client.answer("POST", target, file, headers) as response:
            return str(orjson.loads(response.read())["id"])


@jobs_group.command(name="list")
@click.option("--state", type=click.Choice(get_args(StateName)), multiple=True)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@_url_option
def list_(state: tuple[str, ...], limit: int, url: str) -> None:
    """List jobs, the youngest first: id, type, state, rows done, rows, when it was submitted."""
    query: dict[str, str | int] = {"limit": limit}
    if state:
        query["state"] = ",".join(state)
    for job in _ask(url, "GET", f"/jobs?{urlencode(query)}")["jobs"]:
        counts = job["counts"]
        done, total = counts["completed"] + counts["failed"], counts["total"]
        cells = (job["id"], job["type"], job["state"], done, total or "", job["created_at"])
        click.echo("\t".join(map(str, cells)))


@jobs_group.command()
@click.argument("id_", metavar="ID")
@_url_option
def show(id_: str, url: str) -> None:
    """Describe a job."""
    click.echo(orjson.dumps(_ask(url, "GET", _path(id_)), option=orjson.OPT_INDENT_2))


@jobs_group.command()
@click.argument("id_", metavar="ID")
@_url_option
def cancel(id_: str, url: str) -> None:
    """End a job where it is; what it has done can be fetched."""
    click.echo(_ask(url, "POST", _path(id_, "/cancel"))["state"])


@jobs_group.command()
@click.argument("id_", metavar="ID")
@_url_option
def watch(id_: str, url: str) -> None:
    """Show how far a job is, to its end. Exit code 1 where it fails or is cancelled.

    A server that is restarted meanwhile is waited for.
    """
    _watch(url, id_)


def _watch(url: str, id_: str) -> None:
    terminal = sys.stderr.isatty()
    job: dict[str, Any] = _ask(url, "GET", _path(id_))
    for seen in _jobs_of_events(url, id_, job):
        job = seen
        line = _told(job)
        sys.stderr.write(f"\r{line:<78}" if terminal else f"{line}\n")
        sys.stderr.flush()
    if terminal:
        sys.stderr.write("\n")
    if job["state"] != "completed":
        raise click.ClickException(f"job {id_} {job['state']}: {job['error'] or 'as asked'}")


def _told(job: dict[str, Any]) -> str:
    counts, left = job["counts"], job["seconds_left"]
    done = counts["completed"] + counts["failed"]
    total = "?" if counts["total"] is None else f"{counts['total']:,}"
    words = [f"{job['state']}: {done:,} of {total} rows"]
    if counts["failed"]:
        words.append(f"{counts['failed']:,} bad")
    if job["stage"] and job["type"] == "align":
        words.append(f"{job['stage']['name']} {job['stage']['done']:,}")
    if job["rows_per_second"]:
        words.append(f"{job['rows_per_second']:,.0f} rows/s")
    if left is not None:
        words.append(f"{int(left) // 60}:{int(left) % 60:02} left")
    return ", ".join(words)


def _jobs_of_events(url: str, id_: str, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A job as it goes on, to its end, whatever becomes of connections meanwhile."""
    yield job
    last, away_since = "0", time.monotonic()
    while job["state"] not in _ENDED:
        try:
            for seen, data in _events(url, id_, last):
                last, job, away_since = seen, data, time.monotonic()
                yield job
        except click.ClickException:
            if time.monotonic() - away_since > _AWAY_S:
                raise
        if job["state"] not in _ENDED:
            time.sleep(_AGAIN_S)


def _events(url: str, id_: str, last: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ids and contents of `progress` events after the last that was seen."""
    event: dict[str, str] = {}
    path, headers = _path(id_, "/events"), {"Last-Event-ID": last}
    with _client(url) as client, client.answer("GET", path, headers=headers) as response:
        for raw in response:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if event.get("event") == "progress":
                yield event["id"], orjson.loads(event["data"])
            event = {}


@jobs_group.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of standard output, checked by its hash. What was fetched "
    "before the connection broke is not fetched again.",
)
@click.option("--errors", is_flag=True, help="The bad rows instead.")
@_url_option
def results(id_: str, out: Path | None, errors: bool, url: str) -> None:
    """Fetch what a job came to, or the rows that were bad."""
    path = _path(id_, "/errors" if errors else "/results")
    if out is None:
        with _client(url) as client:
            for piece in client.stream("GET", path):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    part = out.with_name(f"{out.name}.part")
    file = _fetch(url, path, id_, errors, part)
    part.replace(out)
    click.echo(f"wrote {out}: {file['rows']} rows, {file['bytes']} bytes", err=True)


def _fetch(url: str, path: str, id_: str, errors: bool, part: Path) -> dict[str, Any]:
    """Bring the whole file to `part`, from where it ends already; what the server says of it."""
    file: dict[str, Any] | None = _ask(url, "GET", _path(id_))["errors" if errors else "results"]
    if file is None:
        _ask(url, "GET", path)  # is refused, and says why
        return _fetch(url, path, id_, errors, part)
    start = part.stat().st_size if part.exists() else 0
    if start != file["bytes"]:
        headers = {"Range": f"bytes={start}-"} if 0 < start < file["bytes"] else {}
        with _client(url) as client, client.answer("GET", path, headers=headers) as response:
            mode = "ab" if response.status == 206 else "wb"
            with part.open(mode) as target:
                while piece := response.read(_PIECE_BYTES):
                    target.write(piece)
    return _checked(part, file)


def _checked(part: Path, file: dict[str, Any]) -> dict[str, Any]:
    with part.open("rb") as written:
        found = hashlib.file_digest(written, "sha256").hexdigest()
    if found != file["sha256"]:
        part.unlink()
        raise click.ClickException(
            f"what came has the sha256 {found} and not {file['sha256']}; fetch it again"
        )
    return file
