"""What is searched: embeddings of texts of a corpus, and of other texts as queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet

from models.bundle import Granularity
from service.encoding.encoder import Encoder, Options, Unit
from service.retrieval.index import Floats

# Rows read in one go from places spread over the table, so that every source takes part.
_RUN_ROWS = 500
_BATCH_TEXTS = 2048
# How far a tiled vector moves: its cosine with the real one is about 0.9.
_NOISE = 0.5


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit rows: what is searched, and what it is searched for."""

    base: Floats  # (n, dim)
    queries: Floats  # (q, dim), of other texts
    real: int  # rows of `base` that are embeddings as they are; the rest are tiled with noise


def embedded(corpus: Path, bundle: Path, count: int, cache: Path) -> Floats:
    """`count` distinct texts of the table `corpus`, embedded by the bundle: (count, dim).

    Kept in `cache`, a .npy file, and read from there where it has as many.
    """
    if cache.exists() and len(kept := np.load(cache, mmap_mode="r")) >= count:
        return np.array(kept[:count])
    encoder = Encoder.open(bundle, threads=1)
    texts = islice(_texts(corpus, count), count)
    blocks = []
    while some := list(islice(texts, _BATCH_TEXTS)):
        blocks.append(encoder.encode(some, Options()).vectors)
        print(f"embedded {sum(map(len, blocks))} of {count}", flush=True)
    vectors = np.concatenate(blocks)
    if len(vectors) < count:
        raise ValueError(f"{corpus} has only {len(vectors)} distinct texts; ask for fewer")
    # Table order puts a source's texts side by side, and no index should profit from that.
    np.random.default_rng(0).shuffle(vectors)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, vectors)
    return vectors


def tiled(real: Floats, size: int, queries: int) -> Vectors:
    """`size` rows out of the `real` ones but the last `queries`, which are searched for.

    More than there are become copies with noise, each of its own.
    """
    base, wanted = real[: len(real) - queries], real[len(real) - queries :]
    if len(base) >= size:
        return Vectors(np.ascontiguousarray(base[:size]), np.ascontiguousarray(wanted), size)
    rng = np.random.default_rng(1)
    rows = np.empty((size, base.shape[1]), np.float32)
    for start in range(0, size, len(base)):
        some = base[: size - start]
        if start:
            noise = rng.standard_normal(some.shape, dtype=np.float32)
            some = some + noise * np.float32(_NOISE / np.sqrt(some.shape[1]))
            some /= np.linalg.norm(some, axis=1, keepdims=True)
        rows[start : start + len(some)] = some
    return Vectors(rows, np.ascontiguousarray(wanted), len(base))


def _texts(corpus: Path, count: int) -> Iterator[Unit]:
    """Distinct texts with their granularities, from runs of rows spread over the table."""
    table = pyarrow.parquet.ParquetFile(corpus)
    rows = table.metadata.num_rows
    # Twice as many runs as are needed: texts repeat.
    step = max(_RUN_ROWS, rows * _RUN_ROWS // (2 * count))
    seen: set[str] = set()
    row, next_run = 0, 0
    for batch in table.iter_batches(batch_size=_RUN_ROWS, columns=["text", "granularity"]):
        row += len(batch)
        if row < next_run:
            continue
        next_run = row + step - _RUN_ROWS
        for text, granularity in zip(*(column.to_pylist() for column in batch), strict=True):
            if text not in seen:
                seen.add(text)
                yield Unit(text, "corpus", Granularity(granularity))
