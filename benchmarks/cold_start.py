"""How long the service takes from nothing to its first answer, and what memory it then holds.

    python -m benchmarks.cold_start [--bundle FOLDER] [--workers N] [--rounds N]

starts `polygrain serve` anew each round and prints medians with quartiles: until the port accepts,
until the first vector, memory then and after a first load (all its processes; shared pages counted
once), beside what the imports alone take. Files are in the page cache from the second round on.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

import click

from benchmarks.usage import Tree
from models.bundle import DEFAULT_BUNDLE

_SERVE = "from service.cli import main; main()"
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the service."""

    imports_s: float
    listening_s: float
    first_answer_s: float
    memory_mb: float
    loaded_memory_mb: float


@click.command(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--workers", type=click.IntRange(min=1), default=1)
@click.option("--rounds", type=click.IntRange(min=2), default=7)
def main(bundle: Path, workers: int, rounds: int) -> None:
    """Start the service some times, and print what each took."""
    starts = [measure(bundle, workers) for _ in range(rounds + 1)][1:]  # one to fill the cache
    click.echo(f"{bundle.name}, {workers} workers, {rounds} starts\n")
    click.echo("| | median (quartiles) |\n|---|---|")
    for field in fields(Start):
        values = [getattr(start, field.name) for start in starts]
        low, middle, high = statistics.quantiles(values, n=4)
        click.echo(f"| {field.name} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


def measure(bundle: Path, workers: int) -> Start:
    """Start the service once, ask it, load it, and stop it."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import service.server, service.cli"], check=True)
    imports_s = time.perf_counter() - started
    options = ["serve", "--port", "0", "--bundle", str(bundle), "--workers", str(workers)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    tree = Tree(process.pid)
    try:
        port = _port(process)
        listening_s = time.perf_counter() - started
        _embed(port, ["Reykjavík"])
        first_answer_s = time.perf_counter() - started
        memory_mb = _memory_mb(tree)
        for _ in range(4 * workers):
            _embed(port, ["Die Katze schläft auf der Matte. " * 20] * 64)
        return Start(imports_s, listening_s, first_answer_s, memory_mb, _memory_mb(tree))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_TIMEOUT_S)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening host=\S+ port=(\d+)", line):
            return int(found[1])
    raise RuntimeError("the service ended before it listened")


def _embed(port: int, texts: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    body = json.dumps({"inputs": texts, "encoding": "base64"})
    connection.request("POST", "/embed", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"the service answered {response.status}: {content[:200]!r}")


def _memory_mb(tree: Tree) -> float:
    return tree.memory().proportional / 2**20


if __name__ == "__main__":
    main()
