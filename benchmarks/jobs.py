"""Jobs on a real server: how fast, how much memory, what ten kills change, and who waits for them.

    python -m benchmarks.jobs retrieve [--rows 1000000] [--documents 100000] [--kills 10]
    python -m benchmarks.jobs align    [--rows 200000] [--kills 10]
    python -m benchmarks.jobs fairness [--rows 200000] [--seconds 60]

`retrieve` and `align` run the job once in peace, and once on a server that is killed with SIGKILL
at moments that a seed draws over the time that the first took; the results must have the same
sha256. Memory is the kernel's own peak of the server, the highest of all its lives. `fairness`
sends one phrase after another to an idle server and, in the same run, beside a running embed job,
in turns, and gives the latencies as a ratio.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import numpy as np
import orjson

from benchmarks.machine import processor
from benchmarks.texts import Kind, make, words_of
from benchmarks.usage import bytes_of
from models.bundle import DEFAULT_BUNDLE, Bundle
from service.client.http import HttpClient, ask

_ENDED = ("completed", "failed", "cancelled")
_LOOK_S = 0.1
_DOCUMENTS = 512
# Turns of idle and busy that a measurement of latency has.
_TURNS = 4


@dataclass(frozen=True, slots=True)
class Run:
    """What a job came to."""

    sha256: str
    rows: int
    seconds: float  # of the service at work, without the starts of its lives
    peak_bytes: int
    kills: int


class Server:
    """`polygrain serve` as its own process."""

    def __init__(self, bundle: Path, state: Path, threads: int | None) -> None:
        command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
        command += ["--port", "0", "--bundle", str(bundle), "--state-dir", str(state)]
        command += ["--threads", str(threads)] if threads else []
        self._log = state.parent / f"{state.name}.log"
        with self._log.open("ab") as log:
            start = log.tell()
            self.process = subprocess.Popen(command, stderr=log)
        self.url = f"http://127.0.0.1:{self._port(start)}"

    def _port(self, start: int) -> int:
        while True:
            with self._log.open("rb") as log:
                log.seek(start)
                found = re.search(rb"listening host=\S+ port=(\d+)", log.read())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                raise click.ClickException(f"the server did not start; see {self._log}")
            time.sleep(_LOOK_S)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """The answer to a request, as JSON values."""
        with closing(HttpClient(self.url)) as client:
            return ask(client, method, path, body)

    def upload(self, path: Path) -> str:
        """Send a file; its id."""
        headers = {"Content-Type": "application/octet-stream"}
        headers["Content-Length"] = str(path.stat().st_size)
        target = f"/files?{urlencode({'name': path.name})}"
        with (
            path.open("rb") as file,
            closing(HttpClient(self.url)) as client,
            client.answer("POST", target, file, headers) as response,
        ):
            return str(orjson.loads(response.read())["id"])

    def peak_bytes(self) -> int:
        """The most memory that it has held so far."""
        return bytes_of(self.process.pid, "status", "VmHWM")

    def stop(self) -> None:
        """Let it save, and end."""
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


@contextmanager
def _served(bundle: Path, state: Path, threads: int | None) -> Iterator[Server]:
    server = Server(bundle, state, threads)
    try:
        yield server
    finally:
        server.kill()


def run_job(
    bundle: Path, state: Path, threads: int | None, id_: str, moments_s: list[float]
) -> Run:
    """Let servers work on a job until it has ended, each killed after so many seconds of life."""
    seconds, peak, lives = 0.0, 0, 0
    for moment_s in [*moments_s, float("inf")]:
        lives += 1
        with _served(bundle, state, threads) as server:
            begun = time.perf_counter()
            job = server.ask("GET", f"/jobs/{id_}")
            while job["state"] not in _ENDED and time.perf_counter() - begun < moment_s:
                time.sleep(min(_LOOK_S, moment_s))
                job = server.ask("GET", f"/jobs/{id_}")
            seconds += time.perf_counter() - begun
            peak = max(peak, server.peak_bytes())
        if job["state"] in _ENDED:
            break
    if job["state"] != "completed":
        raise click.ClickException(f"the job {job['state']}: {job['error']}")
    return Run(job["results"]["sha256"], job["counts"]["total"], seconds, peak, lives - 1)


def _print(name: str, run: Run) -> None:
    click.echo(
        f"| {name} | {run.rows} | {run.seconds:.1f} | {run.rows / run.seconds:.1f} "
        f"| {run.peak_bytes / 1e6:.0f} | {run.kills} | {run.sha256[:16]} |"
    )


def _written(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


@click.group(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--threads", type=int, help="cores of the model  [default: all]")
@click.option("--state", type=click.Path(path_type=Path), help="folder  [default: a temporary one]")
@click.pass_context
def main(context: click.Context, bundle: Path, threads: int | None, state: Path | None) -> None:
    """Jobs on a real server."""
    folder = state or Path(context.with_resource(tempfile.TemporaryDirectory()))
    folder.mkdir(parents=True, exist_ok=True)
    context.obj = bundle, folder, threads, words_of(bundle / "tokenizer.json")


@main.command()
@click.option("--rows", type=click.IntRange(1), default=1_000_000)
@click.option("--documents", type=click.IntRange(1), default=100_000)
@click.option("--kills", type=click.IntRange(0), default=10)
@click.pass_obj
def retrieve(obj: Any, rows: int, documents: int, kills: int) -> None:  # noqa: ANN401
    """Queries by the million against a collection."""
    bundle, folder, threads, words = obj
    queries = _written(folder / "queries.txt", make(words, Kind.PHRASE, rows, seed=1))
    texts = _written(folder / "documents.txt", make(words, Kind.PHRASE, documents, seed=2))
    states = [folder / "calm", folder / "killed"]
    with _served(bundle, states[0], threads) as server:
        server.ask("PUT", "/collections/all", {})
        index: dict[str, Any] = {"type": "index", "collection": "all", "granularity": "phrase"}
        index |= {"language": "en", "input": {"file": server.upload(texts)}}
        id_ = server.ask("POST", "/jobs", index)["id"]
        while server.ask("GET", f"/jobs/{id_}")["state"] not in _ENDED:
            time.sleep(_LOOK_S)
        # Both search one index, which has taken in everything.
        server.ask("POST", "/collections/all/rebuild", {})
        server.stop()
    shutil.copytree(*states)
    ids = []
    for state in states:
        with _served(bundle, state, threads) as server:
            body: dict[str, Any] = {
                "type": "retrieve",
                "collection": "all",
                "granularity": "phrase",
            }
            body |= {"input": {"file": server.upload(queries)}}
            ids.append(server.ask("POST", "/jobs", body)["id"])
    _compare(bundle, states, threads, ids, kills)


@main.command()
@click.option("--rows", type=click.IntRange(1), default=200_000, help="of either side")
@click.option("--kills", type=click.IntRange(0), default=10)
@click.pass_obj
def align(obj: Any, rows: int, kills: int) -> None:  # noqa: ANN401
    """Mining: every text of one file against every text of the other."""
    bundle, folder, threads, words = obj
    files = [
        _written(folder / f"{side}.txt", make(words, Kind.SENTENCE, rows, seed=seed))
        for seed, side in enumerate(("source", "target"))
    ]
    states = [folder / "calm", folder / "killed"]
    ids = []
    for state in states:
        with _served(bundle, state, threads) as server:
            source, target = ({"file": server.upload(file)} for file in files)
            body = {"type": "align", "source": source, "target": target}
            ids.append(server.ask("POST", "/jobs", body)["id"])
    _compare(bundle, states, threads, ids, kills)


def _compare(
    bundle: Path, states: list[Path], threads: int | None, ids: list[str], kills: int
) -> None:
    """Run equal jobs of two state folders, the second with kills; print and compare."""
    click.echo(f"{Bundle.open(bundle).manifest.name} on {processor()}")
    click.echo("| | rows | s | rows/s | peak memory, MB | kills | sha256 |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    calm = run_job(bundle, states[0], threads, ids[0], [])
    _print("in peace", calm)
    rng = np.random.default_rng(0)
    moments = rng.uniform(0, 2 * calm.seconds / (kills + 1), kills).tolist()
    killed = run_job(bundle, states[1], threads, ids[1], moments)
    _print("killed", killed)
    if killed.sha256 != calm.sha256:
        raise click.ClickException("the results differ")
    click.echo("the results are the same to the byte")


@main.command()
@click.option("--rows", type=click.IntRange(1), default=200_000, help="of the job")
@click.option("--seconds", type=float, default=60.0, help="of idle, and as many beside the job")
@click.pass_obj
def fairness(obj: Any, rows: int, seconds: float) -> None:  # noqa: ANN401
    """Latency of phrases, idle and beside a job."""
    bundle, folder, threads, words = obj
    texts = _written(folder / "texts.txt", make(words, Kind.SENTENCE, rows, seed=1))
    phrases = make(words, Kind.PHRASE, 10_000, seed=2)
    idle: list[float] = []
    busy: list[float] = []
    with _served(bundle, folder / "state", threads) as server:
        file = server.upload(texts)
        for _ in range(_TURNS):
            idle += _latencies(server, phrases, seconds / _TURNS)
            body = {"type": "embed", "input": {"file": file}, "output": "npy"}
            id_ = server.ask("POST", "/jobs", body)["id"]
            while not server.ask("GET", f"/jobs/{id_}")["counts"]["completed"]:
                time.sleep(_LOOK_S)
            busy += _latencies(server, phrases, seconds / _TURNS)
            if server.ask("GET", f"/jobs/{id_}")["state"] in _ENDED:
                raise click.ClickException("the job ended meanwhile; give more --rows")
            server.ask("POST", f"/jobs/{id_}/cancel")
            while server.ask("GET", f"/jobs/{id_}")["state"] not in _ENDED:
                time.sleep(_LOOK_S)
    click.echo(f"{Bundle.open(bundle).manifest.name} on {processor()}")
    click.echo("| | requests | p50, ms | p99, ms |")
    click.echo("| --- | --- | --- | --- |")
    for name, latencies in (("idle", idle), ("beside a job", busy)):
        p50, p99 = np.percentile(latencies, [50, 99]) * 1_000
        click.echo(f"| {name} | {len(latencies)} | {p50:.1f} | {p99:.1f} |")
    ratios = np.percentile(busy, [50, 99]) / np.percentile(idle, [50, 99])
    click.echo(f"| ratio | | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def _latencies(server: Server, phrases: list[str], seconds: float) -> list[float]:
    """Seconds of one request after another, on one connection."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    with closing(HttpClient(server.url)) as client:
        while (begun := time.perf_counter()) < end or not found:
            ask(client, "POST", "/embed", {"inputs": phrases[len(found) % len(phrases)]})
            found.append(time.perf_counter() - begun)
    return found


if __name__ == "__main__":
    main()
