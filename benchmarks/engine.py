"""Our engine without HTTP, against the model alone on batches that were planned beforehand.

    python -m benchmarks.engine [--bundle FOLDER] [--threads N] [--rounds N] [--kind mix] ...

lets N clients in one process call the engine in a closed loop (each sends its next request when it
has the answer), and in turn runs the model over the same texts, tokenised, sorted and padded before
the clock starts. The ratio is what tokenising, queueing and threads cost. It also says what a batch
costs besides its tokens, where the microseconds of one phrase go, and how long single phrases take
while a large request runs.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import uvloop

from benchmarks import texts
from benchmarks.texts import Kind
from models.bundle import DEFAULT_BUNDLE
from service.encoding.batching import PADDING_SHARE, QueueState, plan_batches
from service.encoding.encoder import Encoder, Engine, Options, Unit
from service.encoding.session import available_cores
from service.settings import Settings
from service.swapping import engine_of, opener

# (clients, texts of each request), as the serving benchmark has them.
LOADS = ((1, 1), (16, 1), (64, 1), (1, 32), (8, 32))

_LARGE_TEXTS = 10_000

# Sizes of batches around those that padding decides about.
_BATCH_ROWS = [1, 2, 4, 6, 8]

_KINDS = [str(kind) for kind in Kind]
_PARTS = ("batch", "compare", "phrase", "beside")


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over the texts."""

    texts: int
    wall_s: float
    cpu_s: float
    latencies_s: tuple[float, ...] = ()

    @property
    def texts_per_s(self) -> float:
        return self.texts / self.wall_s


@click.command(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--threads", type=click.IntRange(min=1), default=available_cores())
@click.option("--model-threads", type=click.IntRange(min=1), default=1)
@click.option("--batch-tokens", type=click.IntRange(min=1), default=Settings().batch_tokens)
@click.option(
    "--shared-batch-tokens", type=click.IntRange(min=1), default=Settings().shared_batch_tokens
)
@click.option("--rounds", type=click.IntRange(min=2), default=5, help="alternations")
@click.option(
    "--texts", "count", type=click.IntRange(min=1), default=2_000, help="texts of a round"
)
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, default=_KINDS)
@click.option(
    "--part", "parts", type=click.Choice(_PARTS), multiple=True, default=_PARTS, help="what to run"
)
@click.option("--large-texts", type=click.IntRange(min=1), default=_LARGE_TEXTS)
@click.option("--phrases", type=click.IntRange(min=10), default=500, help="single phrases timed")
def main(
    bundle: Path,
    threads: int,
    model_threads: int,
    batch_tokens: int,
    shared_batch_tokens: int,
    rounds: int,
    count: int,
    kinds: Sequence[str],
    parts: Sequence[str],
    large_texts: int,
    phrases: int,
) -> None:
    """Compare the engine with the model alone."""
    settings = Settings(
        threads=threads,
        model_threads=model_threads,
        batch_tokens=batch_tokens,
        shared_batch_tokens=shared_batch_tokens,
        queue_tokens=10**9,
    )
    encoder = opener(settings)(bundle)
    click.echo(
        f"{encoder.manifest.name} {encoder.manifest.version}, {threads} threads, {model_threads} "
        f"model threads, batches of {batch_tokens} and {shared_batch_tokens} tokens; "
        f"{rounds} alternations, {count} texts each"
    )

    def engine() -> Engine:
        return engine_of(settings, encoder)

    if "batch" in parts:
        _weigh_a_batch(encoder)
    if "compare" in parts:
        _compare(encoder, engine, [Kind(kind) for kind in kinds], batch_tokens, rounds, count)
    if "phrase" in parts:
        _dissect(encoder, engine, phrases)
    if "beside" in parts:
        _interfere(encoder, engine, large_texts, phrases)


def _weigh_a_batch(encoder: Encoder) -> None:
    """What a batch costs besides its tokens, which decides how much padding saves time."""
    (unit,) = units_of(encoder, Kind.SENTENCE, 1)
    (row,) = encoder.prepare([unit], Options()).rows
    sizes, seconds = [], []
    for rows in _BATCH_ROWS * 7:
        started = time.perf_counter()
        encoder.infer([row] * rows)
        sizes.append(rows * len(row))
        seconds.append(time.perf_counter() - started)
    each = np.reshape(seconds, (7, len(_BATCH_ROWS)))
    per_token, fixed = np.polyfit(sizes[: len(_BATCH_ROWS)], np.median(each, axis=0), 1)
    click.echo(
        f"\na batch takes {fixed * 1e6:.0f} microseconds and {per_token * 1e6:.1f} for each token: "
        f"to run it costs as much as {fixed / per_token:.0f} tokens; the queue allows "
        f"{PADDING_SHARE:.4f} of a batch's tokens as padding"
    )


def _compare(
    encoder: Encoder,
    engine: Callable[[], Engine],
    kinds: Sequence[Kind],
    batch_tokens: int,
    rounds: int,
    count: int,
) -> None:
    click.echo(
        "\n| texts | clients x texts | engine, texts/s | model alone, texts/s | ratio (quartiles) "
        "| CPU ratio | p50, ms | p99, ms | rows/batch | padding |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        units = units_of(encoder, kind, count)
        for clients, size in LOADS:
            requests = [units[start : start + size] for start in range(0, count, size)]
            pairs: list[tuple[Round, Round]] = []
            for turn in range(rounds + 1):  # one to warm up
                ours, state = uvloop.run(closed_loop(engine, requests, clients))
                alone = model_alone(encoder, units, batch_tokens)
                if turn:
                    pairs.append((ours, alone))
            ratios = [one.texts_per_s / other.texts_per_s for one, other in pairs]
            cpu = statistics.median(one.cpu_s / other.cpu_s for one, other in pairs)
            fast, bare = (
                statistics.median(side.texts_per_s for side in sides)
                for sides in zip(*pairs, strict=True)
            )
            p50, p99 = percentiles([t for one, _ in pairs for t in one.latencies_s])
            click.echo(
                f"| {kind} | {clients} x {size} | {fast:.0f} | {bare:.0f} | {spread(ratios)} "
                f"| {cpu:.2f} | {p50:.2f} | {p99:.2f} | {state.rows_per_batch:.1f} "
                f"| {state.padding_share:.1%} |"
            )


def _dissect(encoder: Encoder, engine: Callable[[], Engine], count: int) -> None:
    """Where the time of one phrase goes when nobody else is there."""
    units = units_of(encoder, Kind.PHRASE, count, 1)
    times: list[tuple[float, float]] = []
    for unit in units:
        started = time.perf_counter()
        prepared = encoder.prepare([unit], Options())
        middle = time.perf_counter()
        vectors = encoder.infer(prepared.rows)  # between the two, as in a request
        restarted = time.perf_counter()
        prepared.finish(vectors)
        times.append((middle - started, time.perf_counter() - restarted))
    prepare, finish = (statistics.median(one) * 1e6 for one in zip(*times, strict=True))
    ours, state = uvloop.run(closed_loop(engine, [[unit] for unit in units], 1))
    whole = statistics.mean(ours.latencies_s) * 1e6
    wait, model = state.mean_wait_s * 1e6, state.model_s / state.batches * 1e6
    rest = whole - prepare - wait - model - finish
    click.echo(
        "\none phrase at one client, microseconds: "
        f"checking, tokenising and routing {prepare:.0f}, until a model thread has it {wait:.0f}, "
        f"padding and model {model:.0f}, back to the caller {rest:.0f}, putting the answer "
        f"together {finish:.0f}; in all {whole:.0f}"
    )


def _interfere(encoder: Encoder, engine: Callable[[], Engine], large: int, count: int) -> None:
    """Single phrases alone, and while one large request is under way."""
    phrases = [[unit] for unit in units_of(encoder, Kind.PHRASE, count, 2)]
    sentences = units_of(encoder, Kind.SENTENCE, large, 3)
    idle, _ = uvloop.run(closed_loop(engine, phrases, 1))
    loaded, seconds = uvloop.run(_beside(engine, phrases, sentences))
    click.echo(f"\nsingle phrases at one client, while a request of {large} sentences runs:")
    if not loaded:
        click.echo("it ended before the first phrase: take more with --large-texts")
        return
    (idle50, idle99), (p50, p99) = percentiles(idle.latencies_s), percentiles(loaded)
    click.echo(
        f"idle p50 {idle50:.2f} ms, p99 {idle99:.2f} ms; beside it p50 {p50:.2f} ms, p99 "
        f"{p99:.2f} ms ({len(loaded)} phrases); ratio of p99 {p99 / idle99:.2f}; the large "
        f"request took {seconds:.1f} s, {large / seconds:.0f} texts/s"
    )


async def _beside(
    engine: Callable[[], Engine], phrases: Sequence[Sequence[Unit]], sentences: Sequence[Unit]
) -> tuple[list[float], float]:
    running = engine()
    started = time.perf_counter()
    large = asyncio.create_task(running.encode(sentences))
    latencies = []
    number = 0
    while not large.done():
        sent = time.perf_counter()
        await running.encode(phrases[number % len(phrases)])
        if not large.done():
            latencies.append(time.perf_counter() - sent)
        number += 1
    await large
    seconds = time.perf_counter() - started
    await running.close()
    return latencies, seconds


async def closed_loop(
    engine: Callable[[], Engine], requests: Sequence[Sequence[Unit]], clients: int
) -> tuple[Round, QueueState]:
    """`clients` that share `requests`, and what the queue counted."""
    running = engine()
    waiting = iter(requests)
    latencies: list[float] = []

    async def client() -> None:
        for units in waiting:
            sent = time.perf_counter()
            await running.encode(units)
            latencies.append(time.perf_counter() - sent)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    state = running.queue_state()
    await running.close()
    return Round(sum(map(len, requests)), wall_s, cpu_s, tuple(latencies)), state


def model_alone(encoder: Encoder, units: Sequence[Unit], batch_tokens: int) -> Round:
    """The model over `units` in the best order, with nothing around it."""
    rows = encoder.prepare(units, Options()).rows
    batches = [
        encoder.load([rows[index] for index in batch])
        for batch in plan_batches([len(row) for row in rows], batch_tokens)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    for run in batches:
        run()
    return Round(len(units), time.perf_counter() - started, time.process_time() - cpu)


def units_of(encoder: Encoder, kind: Kind, count: int, seed: int = 0) -> list[Unit]:
    """Texts of `kind` in words that the bundle knows."""
    words = texts.words_of(encoder.bundle.file(encoder.manifest.tokenizer.file))
    made = texts.make(words, kind, count, seed)
    return [Unit(text, f"inputs[{index}]") for index, text in enumerate(made)]


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 99]).tolist()
    return p50, p99


def spread(ratios: Sequence[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
