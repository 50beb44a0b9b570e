"""What it costs that one graph holds all adapters and each row gathers its own.

    python -m benchmarks.adapters [--bundle FOLDER] [--threads N] [--rounds N]

runs the bundle's graph, with rows that take the adapters in turn, against the same graph with the
first adapter fixed for all rows, the two in turn on the same inputs, and prints the ratio of their
times. 1.02 means that mixing costs 2 %.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from benchmarks.machine import processor
from models.bundle import DEFAULT_BUNDLE, Bundle

SHAPES = ((1, 16), (8, 16), (32, 16), (8, 64), (32, 64), (8, 256), (32, 256))


@click.command(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count() or 1)
@click.option("--rounds", type=click.IntRange(min=3), default=15, help="alternations per shape")
def main(bundle: Path, threads: int, rounds: int) -> None:
    """Time mixed adapters against one fixed adapter."""
    opened = Bundle.open(bundle)
    graph = onnx.load(str(opened.graph()))
    mixed, fixed = _session(graph, threads), _session(with_one_adapter(graph), threads)
    count = len(opened.manifest.adapters)
    click.echo(
        f"{opened.manifest.name} {opened.manifest.version}, {count} adapters, {threads} threads, "
        f"ONNX Runtime {onnxruntime.__version__}, {processor()}; {rounds} alternations"
    )
    click.echo("| rows x tokens | mixed, ms | fixed, ms | ratio (quartiles) |")
    click.echo("|---|---|---|---|")
    for rows, tokens in SHAPES:
        feed = _inputs(rows, tokens, opened.manifest.vocabulary_size, count)
        times: list[tuple[float, float]] = []
        for turn in range(rounds + 2):  # two to warm up
            pair = _time(mixed, feed), _time(fixed, feed)
            if turn >= 2:
                times.append(pair)
        ratios = [one / other for one, other in times]
        low, middle, high = statistics.quantiles(ratios, n=4)
        one, other = (statistics.median(side) * 1e3 for side in zip(*times, strict=True))
        spread = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        click.echo(f"| {rows} x {tokens} | {one:.2f} | {other:.2f} | {spread} |")


def with_one_adapter(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph in which every gather takes the first adapter for all rows.

    Raises ValueError where no gather depends on `adapter_ids`.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(graph)
    zero = numpy_helper.from_array(np.zeros(1, np.int64), "first_adapter")
    gathers = [
        node
        for node in fixed.graph.node
        if node.op_type == "Gather" and node.input[1] == "adapter_ids"
    ]
    if not gathers:
        raise ValueError("no gather takes adapter_ids: is this an exported bundle?")
    for node in gathers:
        node.input[1] = zero.name
    fixed.graph.initializer.append(zero)
    kept = [port for port in fixed.graph.input if port.name != "adapter_ids"]
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    return fixed


def _session(graph: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _inputs(rows: int, tokens: int, vocabulary: int, adapters: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "input_ids": rng.integers(0, vocabulary, (rows, tokens)),
        "attention_mask": np.ones((rows, tokens), np.int64),
        "adapter_ids": np.arange(rows) % adapters,
    }


def _time(session: onnxruntime.InferenceSession, feed: dict[str, Any]) -> float:
    names = {port.name for port in session.get_inputs()}
    own = {name: value for name, value in feed.items() if name in names}
    started = time.perf_counter()
    session.run(["embedding"], own)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
