"""What each runtime and precision makes of the chip: texts a second, beside its own ceiling.

    python -m benchmarks.runtimes [--bundle FOLDER] [--threads N] [--rounds N]

opens the bundle in every runtime and precision that runs here, lets all of them embed the same
batches in turn, and prints the median of texts a second (and of milliseconds for one short text),
the ratio to the first, with its quartiles over the rounds, and the share of the chip's ceiling:
the rate of one large matrix product in that precision (`benchmarks.ceiling`), timed in the same
turns. The graph's own operations are counted from the shapes of its matrix products.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime

from benchmarks.ceiling import SIZE, Product, products
from benchmarks.machine import processor
from models.bundle import DEFAULT_BUNDLE, Bundle
from models.precision import Precision
from service.encoding.session import Choice, Device, Session, Wish, choose, look
from service.encoding.session.choice import WAYS
from service.encoding.session.ports import feed_of
from service.encoding.tokenizer import Batch
from service.settings import SettingsError

# How long each is called in a row, at a turn of its own.
_SUSTAINED_S = 0.1
SHAPES = ((32, 16), (8, 64), (8, 256), (1, 16))  # rows x tokens


@click.command(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count() or 1)
@click.option("--rounds", type=click.IntRange(min=3), default=15, help="alternations per shape")
@click.option("--device", type=click.Choice([each.value for each in Device]), default="cpu")
def main(bundle: Path, threads: int, rounds: int, device: str) -> None:
    """Time every way to compute the bundle's model, in turn, beside the chip's ceiling."""
    opened = Bundle.open(bundle)
    sessions = open_all(opened, threads, Device(device))
    # The ceiling of a GPU would need a library of its own; there the shares are left out.
    ceilings = products(SIZE, threads) if device == Device.CPU else {}
    click.echo(
        f"{opened.manifest.name} {opened.manifest.version}, {threads} threads, "
        f"{processor()}; {rounds} alternations"
    )
    for rows, tokens in SHAPES:
        _print_shape(opened, sessions, ceilings, (rows, tokens), rounds)


def open_all(bundle: Bundle, threads: int, device: Device) -> dict[Choice, Session]:
    """A session for every way of the table that runs here, float32 in ONNX Runtime first."""
    sessions = {}
    for way, _ in reversed(WAYS):
        wish = Wish(way.runtime, way.precision, way.device)
        try:
            if way.device is device:
                choose(wish, look(wish), bundle.manifest)
                sessions[way] = Session.open(bundle, threads, wish)
        except SettingsError as error:
            click.echo(f"left out: {error}")
    return sessions


def operations(bundle: Bundle, rows: int, tokens: int) -> int:
    """Multiplications and additions in the matrix products of the float32 graph for one batch.

    Shapes are those that ONNX Runtime comes to: onnx's own inference loses them where a size is
    computed, as behind a split of heads.
    """
    model = onnx.load(str(bundle.graph()))
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    given = {port.name for port in model.graph.initializer}
    wanted = {node.output[0] for node in products} | {node.input[0] for node in products} - given
    del model.graph.output[:]
    model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, sorted(wanted)))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    batch = _batch(bundle, rows, tokens)
    found = session.run(sorted(wanted), feed_of(batch))
    shapes = dict(zip(sorted(wanted), map(np.shape, found), strict=True))
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return sum(
        2 * shapes[node.input[0]][-1] * int(np.prod(shapes[node.output[0]])) for node in products
    )


def _print_shape(
    bundle: Bundle,
    sessions: dict[Choice, Session],
    ceilings: dict[Precision, Product],
    shape: tuple[int, int],
    rounds: int,
) -> None:
    rows, tokens = shape
    batch = _batch(bundle, rows, tokens)
    work = operations(bundle, rows, tokens)
    times: dict[Choice, list[float]] = {choice: [] for choice in sessions}
    tops: dict[Precision, list[float]] = {precision: [] for precision in ceilings}
    for turn in range(rounds + 2):  # two to warm up
        for choice, session in sessions.items():
            seconds = _time(lambda session=session: session.embed(batch))  # type: ignore[misc]
            if turn >= 2:
                times[choice].append(seconds)
        for precision, product in ceilings.items():
            seconds = _time(product)
            if turn >= 2:
                tops[precision].append(2 * SIZE**3 / seconds)
    click.echo(f"\n{rows} x {tokens} tokens, {work / rows / 1e6:.0f} million operations a text\n")
    click.echo("| | texts/s | ms a batch | ratio (quartiles) | GFLOP/s | of the ceiling |")
    click.echo("|---|---|---|---|---|---|")
    base = next(iter(times.values()))
    for choice, seconds_of in times.items():
        median = statistics.median(seconds_of)
        ratios = [one / other for one, other in zip(base, seconds_of, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rate = work / median
        top_rates = tops.get(choice.precision)
        share = f"{rate / statistics.median(top_rates):.0%}" if top_rates else "not measured"
        click.echo(
            f"| {choice} | {rows / median:,.0f} | {median * 1e3:.2f} | "
            f"{middle:.2f} ({low:.2f} to {high:.2f}) | {rate / 1e9:,.0f} | {share} |"
        )


def _batch(bundle: Bundle, rows: int, tokens: int) -> Batch:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, bundle.manifest.vocabulary_size, (rows, tokens))
    adapters = np.arange(rows) % len(bundle.manifest.adapters)
    return Batch(ids, np.ones((rows, tokens), np.int64), adapters)


def _time(function: Callable[[], object]) -> float:
    """Seconds of a call in a row of them: what ran before emptied caches and let threads sleep."""
    function()
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < _SUSTAINED_S or not count:
        function()
        count += 1
    return elapsed / count


if __name__ == "__main__":
    main()
