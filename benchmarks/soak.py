"""Whether memory stays where it is, whatever lengths come: random requests for a given time.

    python -m benchmarks.soak --seconds 3600 [--bundle FOLDER] [--clients N]
    python -m benchmarks.soak --seconds 3600 --url http://127.0.0.1:8080 --pid PID

drives the engine in this process, or a running server whose process is PID on this machine, prints
the resident memory as it goes, and at last its growth from the second tenth of the time to the last
(each the median of its samples). It exits with 1 where that is more than `--most` percent.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import uvloop

from benchmarks import texts
from benchmarks.texts import Kind
from benchmarks.usage import bytes_of
from models.bundle import DEFAULT_BUNDLE, Bundle
from service.encoding.encoder import Unit
from service.settings import Settings
from service.swapping import engine_of, opener

# Samples of the resident memory over the whole time; the first tenth does not count.
_SAMPLES = 200
_MOST_TEXTS = 48
# Requests that may run beside the others.
_SMALL_SHARE = 0.5

Send = Callable[[list[str]], Awaitable[object]]


@click.command(context_settings={"show_default": True})
@click.option("--seconds", type=click.FloatRange(min=1), default=3_600.0)
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--threads", type=click.IntRange(min=1), help="default: every core")
@click.option("--clients", type=click.IntRange(min=1), default=8)
@click.option("--url", help="a running server, instead of the engine in this process")
@click.option("--pid", type=int, help="the server's process")
@click.option("--most", type=float, default=2.0, help="growth in percent that is still well")
def main(
    seconds: float,
    bundle: Path,
    threads: int | None,
    clients: int,
    url: str | None,
    pid: int | None,
    most: float,
) -> None:
    """Send requests of random size and watch the memory."""
    if (url is None) != (pid is None):
        raise click.UsageError("--url and --pid go together")
    if not Path("/proc/self/status").exists():
        raise click.ClickException("resident memory is read from /proc, which only Linux has")
    opened = Bundle.open(bundle)
    words = texts.words_of(opened.file(opened.manifest.tokenizer.file))
    if url is None:
        samples, sent = uvloop.run(_engine(bundle, threads, words, seconds, clients))
    else:
        samples, sent = uvloop.run(_drive(_poster(url), words, f"{pid}", seconds, clients))
    growth = growth_percent(samples)
    click.echo(
        f"{sent} texts in {seconds:.0f} s; resident memory grew by {growth:+.2f} % from the "
        "second tenth of the time to the last"
    )
    if growth > most:
        sys.exit(1)


def growth_percent(samples: list[float]) -> float:
    """How much more the last tenth of `samples` has than the second, by their medians."""
    tenth = max(1, len(samples) // 10)
    before = statistics.median(samples[tenth : 2 * tenth])
    return (statistics.median(samples[-tenth:]) / before - 1) * 100


async def _engine(
    bundle: Path, threads: int | None, words: list[str], seconds: float, clients: int
) -> tuple[list[float], int]:
    settings = Settings(threads=threads)
    engine = engine_of(settings, opener(settings)(bundle))
    try:
        return await _drive(
            lambda some: engine.encode([Unit(text, "text") for text in some]),
            words,
            "self",
            seconds,
            clients,
        )
    finally:
        await engine.close()


def _poster(url: str) -> Send:
    def post(some: list[str]) -> None:
        request = urllib.request.Request(
            f"{url}/embed",
            json.dumps({"inputs": some, "encoding": "base64"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            response.read()

    return lambda some: asyncio.to_thread(post, some)


async def _drive(
    send: Send, words: list[str], pid: str, seconds: float, clients: int
) -> tuple[list[float], int]:
    """Samples of the resident memory in MB, and how many texts were sent."""
    started = time.monotonic()
    sent = 0

    async def client(number: int) -> None:
        nonlocal sent
        rng = random.Random(number)
        while time.monotonic() < started + seconds:
            some = random_texts(words, rng)
            await send(some)
            sent += len(some)

    working = [asyncio.create_task(client(number)) for number in range(clients)]
    samples: list[float] = []
    while len(samples) < _SAMPLES:
        await asyncio.sleep(started + seconds * (len(samples) + 1) / _SAMPLES - time.monotonic())
        samples.append(bytes_of(pid, "status", "VmRSS") / 1e6)
        if len(samples) % (_SAMPLES // 20) == 0:
            passed = time.monotonic() - started
            click.echo(f"{passed:8.0f} s  {samples[-1]:8.1f} MB  {sent} texts")
    await asyncio.gather(*working)
    return samples, sent


def random_texts(words: list[str], rng: random.Random) -> list[str]:
    """One text of a random kind, or a number of them with one long enough for windows."""
    kind, count = rng.choice(list(Kind)), rng.randint(1, _MOST_TEXTS)
    if rng.random() < _SMALL_SHARE:
        return texts.make(words, kind, 1, rng.randrange(1 << 30))
    long = texts.make(words, Kind.PARAGRAPH, rng.randint(2, 12), rng.randrange(1 << 30))
    return [*texts.make(words, kind, count, rng.randrange(1 << 30)), " ".join(long)]


if __name__ == "__main__":
    main()
