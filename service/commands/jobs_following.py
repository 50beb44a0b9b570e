"""A job of a running server as it goes on, whatever becomes of connections meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
import orjson

from service.commands.server import ask_server, server_at

_ENDED = ("completed", "failed", "cancelled")

# How long a watcher goes on trying to reach a server that is away, and how often it tries.
_AWAY_S, _AGAIN_S = 300.0, 1.0


def job_path(id_: str, rest: str = "") -> str:
    """The address of a job, or of something of it."""
    return f"/jobs/{quote(id_, safe='')}{rest}"


def watch_job(url: str, id_: str) -> None:
    """Tell on standard error how far a job is, to its end; ClickException unless it completes."""
    terminal = sys.stderr.isatty()
    job: dict[str, Any] = ask_server(url, "GET", job_path(id_))
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
    path, headers = job_path(id_, "/events"), {"Last-Event-ID": last}
    with server_at(url) as client, client.answer("GET", path, headers=headers) as response:
        for raw in response:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if event.get("event") == "progress":
                yield event["id"], orjson.loads(event["data"])
            event = {}
