"""Pairs as a file: TSV, JSON lines or Parquet, whole or not at all, some thousand in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from service.alignment.mining.lines import Texts
from service.alignment.mining.pairing import Pairs
from service.alignment.mining.state import whole_file
from service.alignment.scoring import Floats
from service.errors import InvalidInput

COLUMNS = (
    *("score", "cosine", "probability"),
    *("source_line", "target_line", "source", "target"),
)
_CHUNK_PAIRS = 8_192

Row = tuple[float, float, float | None, int, int, str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """Pairs to write, with the texts that they are of."""

    pairs: Pairs
    # (pairs,); None where the bundle is not calibrated for their score.
    probabilities: Floats | None
    sources: Texts
    targets: Texts

    def chunks(self) -> Iterator[list[Row]]:
        """Rows in the order of `COLUMNS`, some at a time."""
        pairs = self.pairs
        with self.sources.reader() as source, self.targets.reader() as target:
            for start in range(0, len(pairs), _CHUNK_PAIRS):
                rows = slice(start, start + _CHUNK_PAIRS)
                ones, others = pairs.sources[rows], pairs.targets[rows]
                yield list(
                    zip(
                        _rounded(pairs.scores[rows]),
                        _rounded(pairs.cosines[rows]),
                        [None] * len(ones)
                        if self.probabilities is None
                        else _rounded(self.probabilities[rows]),
                        self.sources.places[ones, 0].tolist(),
                        self.targets.places[others, 0].tolist(),
                        map(source, ones.tolist()),
                        map(target, others.tolist()),
                        strict=True,
                    )
                )


def _rounded(values: Floats) -> list[float]:
    # float32 holds no more than six or seven digits.
    rounded: list[float] = np.round(values.astype(np.float64), 6).tolist()
    return rounded


def check_format(out: Path) -> None:
    """Raise InvalidInput where no format goes by this file's ending, or its folder is not there."""
    if out.suffix not in FORMATS:
        raise InvalidInput(f"{out} ends in none of {', '.join(FORMATS)}; name it so", "out")
    if not out.parent.is_dir():
        raise InvalidInput(f"{out} cannot be written: there is no folder {out.parent}", "out")


def write_pairs(out: Path, found: Found) -> None:
    """Write pairs in the format that the ending of `out` names, in place of what was there."""
    with whole_file(out) as file:
        FORMATS[out.suffix](file, found)


def _write_tsv(file: IO[bytes], found: Found) -> None:
    file.write("\t".join(COLUMNS).encode() + b"\n")
    for rows in found.chunks():
        for *numbers, source, target in rows:
            cells = ["" if number is None else str(number) for number in numbers]
            texts = [" ".join(text.split("\t")).replace("\r", " ") for text in (source, target)]
            file.write("\t".join(cells + texts).encode() + b"\n")


def _write_jsonl(file: IO[bytes], found: Found) -> None:
    for rows in found.chunks():
        for row in rows:
            file.write(orjson.dumps(dict(zip(COLUMNS, row, strict=True))) + b"\n")


def _write_parquet(file: IO[bytes], found: Found) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.float32(), pa.float32(), pa.float32(), pa.int64(), pa.int64())
    schema = pa.schema(list(zip(COLUMNS, (*kinds, pa.string(), pa.string()), strict=True)))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in found.chunks():
            columns = [list(column) for column in zip(*rows, strict=True)]
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


FORMATS: dict[str, Callable[[IO[bytes], Found], None]] = {
    ".tsv": _write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
