"""How long alignment takes beside the encoding, and how much memory: ours against others' steps.

    python -m benchmarks.alignment texts [--texts N] [--rounds N] [--threads N]
    python -m benchmarks.alignment documents [--sentences N]...

`texts` pairs N vectors of 384 dimensions with their noisy copies in another order, three ways by
turns, each run in a process of its own: `ours`; `laser`, the published steps of LASER's
mine_bitexts (k nearest both ways in FAISS's flat index, ratio margins, best of either side, greedy
from the best down) written down again; and `numpy`, the same in the plainest numpy that fits into
memory. It prints seconds, seconds of CPU (what counts on a machine that others use too) and peak
memory, and the ratios of CPU time to `ours` of the same round with their spread. It tells whether
all found the same pairs.

`documents` aligns made documents with merges, splits and gaps, the blocks' vectors being sums in
place of the model's, and prints seconds of CPU for each sentence and memory. Set
OPENBLAS_NUM_THREADS=1 where other programs run: the products are small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import processor
from benchmarks.usage import bytes_of
from service.alignment.documents import Plan
from service.alignment.matching import align_texts
from service.alignment.scoring import Floats, unit_rows

_DIMENSION = 384
_K = 4
# Rows of one piece of the plain implementation.
_BLOCK = 1_024

Pairs = set[tuple[int, int]]


@click.group()
def main() -> None:
    """Time and memory of alignment."""


def made_texts(texts: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Unit vectors and noisy copies of them in another order."""
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((texts, _DIMENSION), np.float32)
    targets = sources + np.float32(0.8) * rng.standard_normal((texts, _DIMENSION), np.float32)
    return unit_rows(sources), unit_rows(targets[rng.permutation(texts)])


def ours(sources: Floats, targets: Floats) -> Pairs:
    """`align_texts`, as /align calls it."""
    return {(pair.source, pair.target) for pair in align_texts(sources, targets, k=_K).pairs}


def laser(sources: Floats, targets: Floats) -> Pairs:
    """The steps of LASER's mine_bitexts with --retrieval max --margin ratio."""
    import faiss

    def nearest(queries: Floats, pool: Floats) -> tuple[Floats, NDArray[np.int64]]:
        index = faiss.IndexFlatIP(pool.shape[1])
        index.add(pool)
        found: tuple[Floats, NDArray[np.int64]] = index.search(queries, min(_K, len(pool)))
        return found

    return _mined(nearest(sources, targets), nearest(targets, sources))


def plain(sources: Floats, targets: Floats) -> Pairs:
    """The same with argpartition over blocks of the products."""

    def nearest(queries: Floats, pool: Floats) -> tuple[Floats, NDArray[np.int64]]:
        cosines, indices = [], []
        k = min(_K, len(pool))
        for start in range(0, len(queries), _BLOCK):
            product = queries[start : start + _BLOCK] @ pool.T
            # A copy: a view would keep the order of all columns in memory.
            columns = np.argpartition(-product, k - 1, axis=1)[:, :k].copy()
            cosines.append(np.take_along_axis(product, columns, axis=1))
            indices.append(columns)
        return np.concatenate(cosines), np.concatenate(indices)

    return _mined(nearest(sources, targets), nearest(targets, sources))


def _mined(
    forward: tuple[Floats, NDArray[np.int64]], backward: tuple[Floats, NDArray[np.int64]]
) -> Pairs:
    means = forward[0].mean(axis=1), backward[0].mean(axis=1)
    scores = forward[0] / ((means[0][:, None] + means[1][forward[1]]) / 2)
    back_scores = backward[0] / ((means[1][:, None] + means[0][backward[1]]) / 2)
    best, back_best = scores.argmax(axis=1), back_scores.argmax(axis=1)
    rows, back_rows = np.arange(len(best)), np.arange(len(back_best))
    sources = np.concatenate([rows, backward[1][back_rows, back_best]])
    targets = np.concatenate([forward[1][rows, best], back_rows])
    values = np.concatenate([scores[rows, best], back_scores[back_rows, back_best]])
    seen: tuple[set[int], set[int]] = (set(), set())
    pairs = set()
    for place in np.argsort(-values, kind="stable"):
        source, target = int(sources[place]), int(targets[place])
        if source not in seen[0] and target not in seen[1]:
            seen[0].add(source)
            seen[1].add(target)
            pairs.add((source, target))
    return pairs


WAYS: dict[str, Callable[[Floats, Floats], Pairs]] = {
    "ours": ours,
    "laser": laser,
    "numpy": plain,
}


@main.command(hidden=True)
@click.argument("way", type=click.Choice(list(WAYS)))
@click.argument("texts", type=int)
def one(way: str, texts: int) -> None:
    """One run in this process, told as JSON."""
    sources, targets = made_texts(texts)
    before = bytes_of("self", "status", "VmRSS")
    started = time.perf_counter(), time.process_time()
    pairs = WAYS[way](sources, targets)
    seconds, of_cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    peak = bytes_of("self", "status", "VmHWM")
    told = {"s": seconds, "cpu_s": of_cpu, "peak": peak, "before": before}
    click.echo(json.dumps({**told, "pairs": hash(tuple(sorted(pairs)))}))


@main.command(name="texts", context_settings={"show_default": True})
@click.option("--texts", type=click.IntRange(min=10), default=100_000, help="on each side")
@click.option("--rounds", type=click.IntRange(min=1), default=3)
@click.option("--threads", type=click.IntRange(min=1), default=1)
def texts_command(texts: int, rounds: int, threads: int) -> None:
    """Pair two lists three ways, in turn."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
    }
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, done in runs.items():
            command = [sys.executable, "-m", "benchmarks.alignment", "one", way, str(texts)]
            told = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            ).stdout
            done.append(json.loads(told))
            click.echo(f"{way}: {done[-1]['cpu_s']:.1f} s of CPU", err=True)
    click.echo(
        f"{texts} x {texts} texts of {_DIMENSION} dimensions, {threads} threads, {rounds} rounds, "
        f"{processor()}\n"
    )
    click.echo(
        "| way | s, median | CPU s, median | times ours | of all rounds | peak memory, MB "
        "| beside vectors |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    for way, done in runs.items():
        ratios = [
            run["cpu_s"] / base["cpu_s"] for run, base in zip(done, runs["ours"], strict=True)
        ]
        peak = max(run["peak"] for run in done)
        beside = max(run["peak"] - run["before"] for run in done)
        click.echo(
            f"| {way} | {median(run['s'] for run in done):.2f} "
            f"| {median(run['cpu_s'] for run in done):.2f} | {median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} | {peak / 1e6:.0f} | {beside / 1e6:.0f} |"
        )
    same = len({run["pairs"] for done in runs.values() for run in done}) == 1
    click.echo(f"\nall ways found {'the same pairs' if same else 'DIFFERENT pairs'}")


@main.command(context_settings={"show_default": True})
@click.option("--sentences", type=int, multiple=True, default=(100, 1_000, 10_000))
@click.option("--rounds", type=click.IntRange(min=1), default=3)
def documents(sentences: Sequence[int], rounds: int) -> None:
    """Align documents of several lengths."""
    click.echo(f"{_DIMENSION} dimensions, merges up to 4, {rounds} rounds, {processor()}\n")
    click.echo(
        "| sentences | s, median | ms for each | blocks encoded for each | peak memory, MB |"
    )
    click.echo("|---|---|---|---|---|")
    for count in sentences:
        sources, targets = made_documents(count)
        seconds = []
        for _ in range(rounds):
            started = time.process_time()
            plan = Plan(sources, targets)
            planned = time.process_time() - started
            blocks = [
                np.array([side[b.start : b.end].sum(axis=0) for b in own], np.float32)
                for side, own in (
                    (sources, plan.source_blocks),
                    (targets, plan.target_blocks),
                )
            ]
            started = time.process_time()
            plan.matches(blocks[0], blocks[1])
            seconds.append(planned + time.process_time() - started)
        each = (len(plan.source_blocks) + len(plan.target_blocks)) / (len(sources) + len(targets))
        peak = bytes_of("self", "status", "VmHWM")
        click.echo(
            f"| {len(sources)} x {len(targets)} | {median(seconds):.2f} "
            f"| {1e3 * median(seconds) / len(sources):.2f} | {each:.2f} | {peak / 1e6:.0f} |"
        )


def made_documents(sentences: int, seed: int = 0) -> tuple[Floats, Floats]:
    """A document and its translation, in which one in seven sentences is merged, split or gone."""
    rng = np.random.default_rng(seed)
    meanings = rng.standard_normal((sentences, _DIMENSION), np.float32)
    sides: list[Floats] = []
    for _ in range(2):
        merged = rng.random(sentences) < 0.1
        merged[0] = False
        starts = np.flatnonzero(~merged)
        side = np.add.reduceat(meanings, starts, axis=0)
        side = side[rng.random(len(side)) >= 0.04]
        sides.append(side + np.float32(0.8) * rng.standard_normal(side.shape, np.float32))
    return unit_rows(sides[0]), unit_rows(sides[1])


if __name__ == "__main__":
    main()
