"""What shorter vectors cost: fewer dimensions, int8, one bit for each.

    python -m benchmarks.quantization --data DATA [--bundle FOLDER] [--pairs N] [--dimensions N]...

embeds sentence pairs of DATA/eval/tatoeba.pairs.tsv.xz, drawn evenly over their languages, and
prints for each form: the mean and lowest cosine to the whole float32 vector (of what the integers
stand for), the share of values that int8 clips, the mean share of the ten nearest targets of a
source that are still among its ten nearest, and how often the nearest target is the translation.
Nearest is by cosine, and by Hamming distance for binary.
"""

from __future__ import annotations

import csv
import lzma
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from models.bundle import DEFAULT_BUNDLE, Granularity
from service.encoding.encoder import Encoder, Unit
from service.encoding.quantization import int8_scale, to_binary, to_int8, truncate
from service.encoding.session import Vectors

_NEIGHBOURS = 10
_CHUNK = 1_024
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.option("--data", type=_FOLDER, required=True, help="folder of the corpora")
@click.option("--bundle", type=_FOLDER, default=DEFAULT_BUNDLE)
@click.option("--pairs", type=click.IntRange(min=100), default=5_000)
@click.option("--dimensions", type=int, multiple=True, default=(64, 128, 256))
@click.option("--threads", type=int, default=None)
def main(
    data: Path, bundle: Path, pairs: int, dimensions: tuple[int, ...], threads: int | None
) -> None:
    """Embed pairs, and print what every form of the vectors costs."""
    texts = read_pairs(data / "eval" / "tatoeba.pairs.tsv.xz", pairs)
    encoder = Encoder.open(bundle, threads=threads)
    sources, targets = (_embed(encoder, [pair[side] for pair in texts]) for side in (0, 1))
    whole = encoder.manifest.dimension
    nearest = neighbours(sources, targets)
    click.echo(f"{encoder.manifest.name} {encoder.manifest.version}, {len(texts)} pairs\n")
    click.echo(
        "| form | bytes | cosine, mean | lowest | clipped | of ten nearest | translation found |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    for size in (whole, *sorted(set(dimensions), reverse=True)):
        if not 0 < size <= whole:
            raise click.BadParameter(f"{size} is not within 1 to {whole}", param_hint="dimensions")
        cut = _Sides(*(truncate(side, size, normalize=True) for side in (sources, targets)))
        _report(f"{size}, float32", 4 * size, cut, nearest)
        short = _Sides(*(unit(to_int8(side)) for side in cut))
        clipped = float((np.abs(cut.sources) > 127.5 * int8_scale(size)).mean())
        lost = cosines(short.sources, cut.sources)
        _report(f"{size}, int8", size, short, nearest, lost, clipped)
        signs = _Sides(*(_signs(side) for side in cut))
        _report(
            f"{size}, binary", -(-size // 8), signs, nearest, cosines(signs.sources, cut.sources)
        )
    largest = float(np.abs(sources).max()) * whole**0.5
    click.echo(f"\nlargest value times the root of {whole}: {largest:.1f}")


class _Sides(NamedTuple):
    sources: Vectors
    targets: Vectors


def _signs(rows: Vectors) -> Vectors:
    """The vectors of ones and minus ones that the bits stand for: their cosine falls with the
    Hamming distance."""
    bits = np.unpackbits(to_binary(rows), axis=1, count=rows.shape[1])
    return unit(2.0 * bits - 1.0)


def _report(
    form: str,
    size: int,
    sides: _Sides,
    nearest: NDArray[np.int64],
    lost: NDArray[np.float32] | None = None,
    clipped: float | None = None,
) -> None:
    found = neighbours(*sides)
    kept = np.mean([len(set(a) & set(b)) for a, b in zip(found, nearest, strict=True)])
    right = float((found[:, 0] == np.arange(len(found))).mean())
    cosine = "| |" if lost is None else f"{lost.mean():.5f} | {lost.min():.5f} |"
    share = "" if clipped is None else f"{clipped:.1e}"
    click.echo(f"| {form} | {size} | {cosine} {share} | {kept / _NEIGHBOURS:.3f} | {right:.3f} |")


def read_pairs(path: Path, count: int) -> list[tuple[str, str]]:
    """At most `count` pairs of texts, taken in turn from every pair of languages."""
    by_languages: dict[tuple[str, str], list[tuple[str, str]]] = {}
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            languages = row["lang_a"], row["lang_b"]
            by_languages.setdefault(languages, []).append((row["text_a"], row["text_b"]))
    longest = max(map(len, by_languages.values()))
    in_turn = [
        pairs[n] for n in range(longest) for pairs in by_languages.values() if n < len(pairs)
    ]
    return in_turn[:count]


def _embed(encoder: Encoder, texts: list[str]) -> Vectors:
    units = [Unit(text, f"text {n}", Granularity.SENTENCE) for n, text in enumerate(texts)]
    chunks = [units[start : start + _CHUNK] for start in range(0, len(units), _CHUNK)]
    return np.concatenate([encoder.encode(chunk).vectors for chunk in chunks])


def unit(rows: NDArray[np.generic]) -> Vectors:
    """Rows as float32 of length 1."""
    values = rows.astype(np.float32)
    scaled: Vectors = values / np.linalg.norm(values, axis=1, keepdims=True)
    return scaled


def cosines(rows: NDArray[np.generic], whole: Vectors) -> NDArray[np.float32]:
    """The cosine of each row with its own unit vector in `whole`."""
    products: NDArray[np.float32] = np.einsum("nd,nd->n", unit(rows), whole)
    return products


def neighbours(sources: Vectors, targets: Vectors) -> NDArray[np.int64]:
    """The ten nearest targets of each source, nearest first, by dot product; equals by index."""
    found = [
        np.argsort(-(sources[start : start + _CHUNK] @ targets.T), axis=1, kind="stable")
        for start in range(0, len(sources), _CHUNK)
    ]
    return np.concatenate(found)[:, :_NEIGHBOURS]


if __name__ == "__main__":
    main()
