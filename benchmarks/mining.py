"""How fast `polygrain mine` is, and how much memory it takes.

    python -m benchmarks.mining [--lines N] [--targets N] [--dimensions D] [--threads T]
    python -m benchmarks.mining --data DATA [--lines N] [--bundle FOLDER] [--threads T]

Without --data, vectors are drawn at random (half of the texts have a partner), so that reading,
searching and pairing are measured alone, at any size; with it, lines are English and German
sentences of DATA/train/tatoeba_opus.pairs.tsv.xz, and the bundle's model embeds them. Printed are
the seconds of each stage, lines per second over all, how many planted partners were found, and the
peak memory of the process.
"""

from __future__ import annotations

import csv
import lzma
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import faiss
import numpy as np

from benchmarks.machine import processor
from models.bundle import DEFAULT_BUNDLE, Granularity
from service.alignment.mining import Job, Stage, mine
from service.alignment.mining.vectors import Embed
from service.alignment.scoring import Floats
from service.encoding.encoder import Encoder, Unit

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.option("--lines", type=click.IntRange(min=10), default=20_000, help="of the source")
@click.option("--targets", type=click.IntRange(min=10), help="of the target [default: as many]")
@click.option("--dimensions", type=click.IntRange(min=8), default=384)
@click.option("--data", type=_FOLDER, help="folder of the corpora, to embed real lines")
@click.option("--bundle", type=_FOLDER, default=DEFAULT_BUNDLE)
@click.option("--threads", type=int, default=1)
def main(
    lines: int,
    targets: int | None,
    dimensions: int,
    data: Path | None,
    bundle: Path,
    threads: int,
) -> None:
    """Mine made-up or real lines, and print what it took."""
    faiss.omp_set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if data is None:
            embed = planted(folder, lines, targets or lines, dimensions)
        else:
            write_lines(folder, data, lines)
            embed = model(bundle, threads)
        clock = Clock()
        job = Job(folder / "a.txt", folder / "b.txt", folder / "pairs.tsv", folder / "state")
        mined = mine(job, embed, {"bundle": "benchmark"}, report=clock.take)
        whole_s = clock.total_s
        right = found_partners(folder / "pairs.tsv")
    read = sum(counts["lines"] for counts in mined.counts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    click.echo(f"{processor()}, {threads} threads, {read:,} lines of both sides")
    for stage, seconds in clock.seconds.items():
        click.echo(f"  {seconds:>9.1f} s  {stage}")
    click.echo(f"  {whole_s:>9.1f} s  all: {read / whole_s:,.0f} lines/s")
    click.echo(f"{mined.pairs:,} pairs, {right:,} of them in equal places; peak {peak:.2f} GB")


class Clock:
    """The seconds that each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = self._start = time.perf_counter()

    def take(self, stage: Stage, done: int, total: int) -> None:
        """Add what passed since the last report to the stage that it is of."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @property
    def total_s(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._start


def planted(folder: Path, sources: int, targets: int, dimensions: int) -> Embed:
    """Write two files of numbered lines; lines of one number up to half of the shorter file are
    partners, whose vectors lie near each other."""
    partners = min(sources, targets) // 2
    for name, side, count in (("a.txt", "a", sources), ("b.txt", "b", targets)):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(f"{side} {number}\n" for number in range(count))

    def embed(texts: Sequence[str]) -> Floats:
        rows = np.empty((len(texts), dimensions), np.float32)
        for place, text in enumerate(texts):
            side, number = text.split()
            own = np.random.default_rng([int(number), ord(side)]).standard_normal(dimensions)
            if int(number) < partners:
                shared = np.random.default_rng(int(number)).standard_normal(dimensions)
                own = shared + 0.7 * own
            rows[place] = own / np.linalg.norm(own)
        return rows

    return embed


def write_lines(folder: Path, data: Path, lines: int) -> None:
    """English and German sentences that translate each other, each once, in one order."""
    seen: set[str] = set()
    with (
        lzma.open(data / "train/tatoeba_opus.pairs.tsv.xz", "rt", encoding="utf-8") as table,
        (folder / "a.txt").open("w", encoding="utf-8") as one,
        (folder / "b.txt").open("w", encoding="utf-8") as other,
    ):
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            sides = {row["text_a"], row["text_b"]}
            if (row["lang_a"], row["lang_b"]) != ("en", "de") or seen & sides:
                continue
            seen |= sides
            one.write(row["text_a"] + "\n")
            other.write(row["text_b"] + "\n")
            if len(seen) >= 2 * lines:
                break


def model(bundle: Path, threads: int) -> Embed:
    """The bundle's model, its sentence adapter."""
    encoder = Encoder.open(bundle, threads=threads)

    def embed(texts: Sequence[str]) -> Floats:
        return encoder.encode([Unit(text, "line", Granularity.SENTENCE) for text in texts]).vectors

    return embed


def found_partners(pairs: Path) -> int:
    """Pairs of lines with one number, as the files have their partners."""
    with pairs.open(encoding="utf-8") as rows:
        return sum(row.split("\t")[3] == row.split("\t")[4] for row in rows)


if __name__ == "__main__":
    main()
