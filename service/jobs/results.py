"""From the columns of a shard to bytes, and from the bytes of all shards to one file."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from service.alignment.mining.state import whole_file
from service.jobs.specs import Output
from service.jobs.store import Result
from service.rows import BadRow

# Values by column, a list or an array each, of as many rows.
Table = Mapping[str, Any]

_VECTOR = "embedding"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a shard came to."""

    table: Table
    bad: list[BadRow]


def _jsonl(table: Table) -> bytes:
    rows = zip(*table.values(), strict=True)
    return b"".join(
        orjson.dumps(dict(zip(table, row, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        for row in rows
    )


def _tsv(table: Table) -> bytes:
    lines = ["\t".join(map(_cell, row)) + "\n" for row in zip(*table.values(), strict=True)]
    return "".join(lines).encode()


def _cell(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return ""
    if isinstance(value, str):
        # What would end a cell or a line becomes a space.
        return " ".join(value.replace("\r", " ").replace("\n", " ").split("\t"))
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _parquet(table: Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_array(name, values) for name, values in table.items()]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(table)), sink, compression="zstd")
    return sink.getvalue()


def _array(name: str, values: Any) -> Any:  # noqa: ANN401
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.array(values, _arrow_type(name))


def _arrow_type(name: str) -> Any:  # noqa: ANN401
    import pyarrow as pa

    # Named, because a column of a shard may be empty, or hold nothing but nulls.
    hit = [(each, pa.string()) for each in HIT_FIELDS]
    types = {
        "line": pa.int64(),
        "tokens": pa.int32(),
        "truncated": pa.bool_(),
        "hits": pa.list_(pa.struct([("score", pa.float32()), *hit])),
    }
    return types.get(name, pa.string())


HIT_FIELDS = ("id", "text", "language", "granularity", "adapter", "metadata")


def _npy(table: Table) -> bytes:
    rows: np.ndarray[Any, Any] = table[_VECTOR]
    return np.ascontiguousarray(rows).tobytes()


# How a table of a shard is written; TSV and npy without what stands at the head of the file.
PIECES: dict[Output, Callable[[Table], bytes]] = {
    "jsonl": _jsonl,
    "tsv": _tsv,
    "parquet": _parquet,
    "npy": _npy,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the head of a result tells of all shards: its columns, or the array's row."""

    columns: tuple[str, ...]
    dtype: str = "<f4"
    width: int = 0


def assemble(path: Path, output: Output, pieces: Sequence[Path], shape: Shape, rows: int) -> Result:
    """Put pieces of shards together in one file at `path`, whole or not at all."""
    with whole_file(path) as file:
        _WRITERS[output](file, pieces, shape, rows)
    return described(path, rows)


def join(path: Path, pieces: Sequence[Path], rows: int) -> Result:
    """The same for lines that need no head."""
    return assemble(path, "jsonl", pieces, Shape(()), rows)


def described(path: Path, rows: int) -> Result:
    """A file that stands, with its hash."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Result(path.name, os.fstat(file.fileno()).st_size, sha256, rows)


def _copy(file: IO[bytes], pieces: Sequence[Path]) -> None:
    for piece in pieces:
        with piece.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)


def _write_jsonl(file: IO[bytes], pieces: Sequence[Path], shape: Shape, rows: int) -> None:
    _copy(file, pieces)


def _write_tsv(file: IO[bytes], pieces: Sequence[Path], shape: Shape, rows: int) -> None:
    file.write("\t".join(shape.columns).encode() + b"\n")
    _copy(file, pieces)


def _write_npy(file: IO[bytes], pieces: Sequence[Path], shape: Shape, rows: int) -> None:
    size = sum(piece.stat().st_size for piece in pieces)
    count = size // (np.dtype(shape.dtype).itemsize * shape.width)
    header = {"descr": shape.dtype, "fortran_order": False, "shape": (count, shape.width)}
    np.lib.format.write_array_header_1_0(file, header)
    _copy(file, pieces)


def _write_parquet(file: IO[bytes], pieces: Sequence[Path], shape: Shape, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = (pq.read_table(piece) for piece in pieces)
    first = next(tables, None)
    if first is None:
        first = pa.table([pa.array([], _arrow_type(name)) for name in shape.columns], shape.columns)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in _first_then(first, tables):
            writer.write_table(table)


def _first_then(first: Any, others: Iterator[Any]) -> Iterator[Any]:  # noqa: ANN401
    yield first
    yield from others


_WRITERS: dict[Output, Callable[[IO[bytes], Sequence[Path], Shape, int], None]] = {
    "jsonl": _write_jsonl,
    "tsv": _write_tsv,
    "parquet": _write_parquet,
    "npy": _write_npy,
}
