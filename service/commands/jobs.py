"""`polygrain jobs`: hand files to a running server, watch it work, fetch what came of it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import click
import orjson

from service.api.job_schemas import StateName
from service.commands.jobs_following import job_path, watch_job
from service.commands.jobs_submit import submit
from service.commands.server import ask_server, server_at, url_option

_PIECE_BYTES = 1 << 20


@click.group(name="jobs")
def jobs_group() -> None:
    """Work on whole files, on a running server: submit, watch, fetch.

    A job that was submitted is done, whatever happens to the server or to this command.
    """


jobs_group.add_command(submit)


@jobs_group.command(name="list")
@click.option("--state", type=click.Choice(get_args(StateName)), multiple=True)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@url_option
def list_(state: tuple[str, ...], limit: int, url: str) -> None:
    """List jobs, the youngest first: id, type, state, rows done, rows, when it was submitted."""
    query: dict[str, str | int] = {"limit": limit}
    if state:
        query["state"] = ",".join(state)
    for job in ask_server(url, "GET", f"/jobs?{urlencode(query)}")["jobs"]:
        counts = job["counts"]
        done, total = counts["completed"] + counts["failed"], counts["total"]
        cells = (job["id"], job["type"], job["state"], done, total or "", job["created_at"])
        click.echo("\t".join(map(str, cells)))


@jobs_group.command()
@click.argument("id_", metavar="ID")
@url_option
def show(id_: str, url: str) -> None:
    """Describe a job."""
    click.echo(orjson.dumps(ask_server(url, "GET", job_path(id_)), option=orjson.OPT_INDENT_2))


@jobs_group.command()
@click.argument("id_", metavar="ID")
@url_option
def cancel(id_: str, url: str) -> None:
    """End a job where it is; what it has done can be fetched."""
    click.echo(ask_server(url, "POST", job_path(id_, "/cancel"))["state"])


@jobs_group.command()
@click.argument("id_", metavar="ID")
@url_option
def watch(id_: str, url: str) -> None:
    """Show how far a job is, to its end. Exit code 1 where it fails or is cancelled.

    A server that is restarted meanwhile is waited for.
    """
    watch_job(url, id_)


@jobs_group.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of standard output, checked by its hash. What was fetched "
    "before the connection broke is not fetched again.",
)
@click.option("--errors", is_flag=True, help="The bad rows instead.")
@url_option
def results(id_: str, out: Path | None, errors: bool, url: str) -> None:
    """Fetch what a job came to, or the rows that were bad."""
    path = job_path(id_, "/errors" if errors else "/results")
    if out is None:
        with server_at(url) as client:
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
    job = ask_server(url, "GET", job_path(id_))
    file: dict[str, Any] | None = job["errors" if errors else "results"]
    if file is None:
        ask_server(url, "GET", path)  # is refused, and says why
        return _fetch(url, path, id_, errors, part)
    start = part.stat().st_size if part.exists() else 0
    if start != file["bytes"]:
        headers = {"Range": f"bytes={start}-"} if 0 < start < file["bytes"] else {}
        with server_at(url) as client, client.answer("GET", path, headers=headers) as response:
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
