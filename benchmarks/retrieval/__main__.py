"""Our search beside hnswlib, usearch and bare FAISS on the same vectors, one thread each.

    pip install -r benchmarks/retrieval/requirements.txt
    python -m benchmarks.retrieval --corpus corpus.parquet --vectors build/vectors.npy
    python -m benchmarks.retrieval --corpus corpus.parquet --vectors build/vectors.npy \\
        --size 1000000

embeds texts of the corpus by the bundle (kept in --vectors), builds each index over them, finds
for each the least effort with recall@10 of 0.95 and of 0.99 on embeddings of other texts, and then
times all in turn, round after round. Ours is a collection on the disk that answers with ids and
scores; the index inside it is measured alone as well. Sizes beyond the real vectors are tiled with
noise. Times are processor time, which other work on the machine does not stretch. What is printed
of a ratio is its median over the rounds, with the least and the most.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

# Before numpy loads: its products belong to one thread, too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np

from benchmarks.machine import processor
from benchmarks.retrieval import vectors as made
from benchmarks.retrieval.ingest import ingest_rate
from benchmarks.retrieval.report import table
from benchmarks.retrieval.sides import SIDES, Searcher
from models.bundle import DEFAULT_BUNDLE
from service.retrieval.index import Floats, Keys, exact
from service.retrieval.index.design import Effort

K = 10
RECALLS = (0.95, 0.99)
BATCHES = (1, 64)
_QUERIES = 1024
# Of one round, so that no side waits for long.
_TIMED_QUERIES = {1: 128, 64: 1024}


@dataclass(frozen=True, slots=True)
class Side:
    """An index as it was built."""

    name: str
    searcher: Searcher
    build_s: float
    bytes: int


@click.command(context_settings={"show_default": True})
@click.option("--corpus", type=click.Path(path_type=Path), help="Table of texts, Parquet.")
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--vectors", "cache", type=click.Path(path_type=Path), required=True)
@click.option("--size", default=100_000, help="Vectors that are searched.")
@click.option("--real", default=100_000, help="At most so many of them are embeddings of texts.")
@click.option("--rounds", default=7)
@click.option("--side", "names", multiple=True, type=click.Choice(list(SIDES)), help="Only these.")
def main(
    corpus: Path | None,
    bundle: Path,
    cache: Path,
    size: int,
    real: int,
    rounds: int,
    names: tuple[str, ...],
) -> None:
    """Measure vector search beside others."""
    count = min(size, real) + _QUERIES
    if corpus is None and not cache.exists():
        raise click.UsageError(f"{cache} does not exist: --corpus is needed to make it")
    data = made.tiled(made.embedded(corpus or Path(), bundle, count, cache), size, _QUERIES)
    base, queries = data.base, data.queries
    print(
        f"{processor()}, one thread, processor time; {len(base)} vectors of {base.shape[1]} "
        f"dimensions, {data.real} of them embeddings of texts; {len(queries)} queries",
        flush=True,
    )
    truth = exact.nearest(queries, base, K, None)[0][:, -1]
    sides = [side for name in names or SIDES for side in _built(name, base)]
    found = {
        (side.name, recall): effort
        for side in sides
        for recall in RECALLS
        if (effort := _least(side, base, queries, truth, recall)) is not None
    }
    times = _timed(sides, queries, found, rounds)
    print(table(sides, times, RECALLS, BATCHES))
    print(ingest_rate(base))


def _built(name: str, base: Floats) -> list[Side]:
    before, began = _resident(), time.process_time()
    searchers = SIDES[name](base)
    build_s, size = time.process_time() - began, _resident() - before
    sides = [Side(name, searcher, build_s, size) for name, searcher in searchers.items()]
    print(f"{sides[0].name}: built in {build_s:.1f} s: {sides[0].searcher.what}", flush=True)
    return sides


def recall(found: Keys, base: Floats, queries: Floats, truth: Floats) -> float:
    """The share of `found` (q, K) that is as near as the K-th nearest, whose cosine is `truth`."""
    cosines = np.einsum("qkd,qd->qk", base[found], queries)
    right: float = (cosines >= truth[:, None] - 1e-5).mean()
    return right


def _least(
    side: Side, base: Floats, queries: Floats, truth: Floats, wanted: float
) -> Effort | None:
    """The fastest of the efforts that are the least of their width with the recall that is wanted;
    None where none has it."""
    best, able = 0.0, []
    for _, efforts in groupby(side.searcher.efforts, key=lambda effort: effort.width):
        for effort in efforts:
            found = side.searcher.keys(side.searcher.search(queries, K, effort))
            reached = recall(found, base, queries, truth)
            best = max(best, reached)
            if reached >= wanted:
                print(f"{side.name}: {effort} finds {reached:.4f}", flush=True)
                able.append(effort)
                break
    if not able:
        print(f"{side.name}: at most {best:.4f}", flush=True)
        return None
    return min(able, key=lambda effort: _time(side, queries, max(BATCHES), effort))


def _timed(
    sides: Sequence[Side],
    queries: Floats,
    found: Mapping[tuple[str, float], Effort],
    rounds: int,
) -> dict[tuple[str, float, int], list[float]]:
    """Seconds for a query of each side, recall and batch, one for each round."""
    times: dict[tuple[str, float, int], list[float]] = {}
    for turn in range(rounds + 1):
        for wanted in RECALLS:
            for batch in BATCHES:
                # Neighbours in time meet the same noise; another goes first in each round.
                for side in [*sides[turn % len(sides) :], *sides[: turn % len(sides)]]:
                    effort = found.get((side.name, wanted))
                    if effort is None:
                        continue
                    spent = _time(side, queries[: _TIMED_QUERIES[batch]], batch, effort)
                    if turn:  # the first warms up
                        times.setdefault((side.name, wanted, batch), []).append(spent)
    return times


def _time(side: Side, queries: Floats, batch: int, effort: Effort) -> float:
    parts = [queries[start : start + batch] for start in range(0, len(queries), batch)]
    began = time.process_time()
    for part in parts:
        side.searcher.search(part, K, effort)
    return (time.process_time() - began) / len(queries)


def _resident() -> int:
    """Bytes of memory that this process holds, after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
