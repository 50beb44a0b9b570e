"""Files of texts, row by row: lines of text, TSV, lines of JSON and Parquet, plain, .gz or .zst.

One bad row does not end a file: it comes as a `BadRow` with its number and the reason, and whoever
reads decides what becomes of it.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Any, Literal

import orjson

from service.errors import InvalidInput

Format = Literal["lines", "tsv", "jsonl", "parquet"]

FORMATS: dict[str, Format] = {
    ".txt": "lines",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS = (".gz", ".zst")

_BUFFER_BYTES = 1 << 20
_PARQUET_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table hold what; the others go into the metadata."""

    id: str = "id"
    text: str = "text"
    language: str | None = None  # None: `language`, or else `lang`, where there is one
    granularity: str = "granularity"


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its values by column; a line of text has one, under the name of the text's."""

    number: int  # of the line, from 1, the header included; of the row, in Parquet
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that holds nothing that can be used."""

    number: int
    reason: str
    blank: bool = False


def suffix_of(name: str) -> str:
    """The ending of a file's name that says how to read it, such as `.tsv.gz`; may be empty."""
    suffixes = [each.lower() for each in PurePath(name).suffixes[-2:]]
    packed = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1] if suffixes and suffixes[-1] in FORMATS else "") + packed


def format_of(name: str) -> Format | None:
    """The format that a file's name tells; None where it tells none."""
    suffix = suffix_of(name)
    for packed in COMPRESSIONS:
        suffix = suffix.removesuffix(packed)
    return FORMATS.get(suffix)


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A file decompressed as its name tells, and how far into its own bytes it was read."""
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as unzipped:
                yield io.BufferedReader(_Raw(unzipped), _BUFFER_BYTES), raw.tell
        elif path.suffix == ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(raw, "zstd") as stream:
                yield io.BufferedReader(_Raw(stream), _BUFFER_BYTES), raw.tell
        else:
            yield raw, raw.tell


class _Raw(io.RawIOBase):
    """A decompressing stream as Python's buffered reader wants it."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def raw_lines(file: IO[bytes], limit: int) -> Iterator[tuple[int, bytes | None]]:
    """The bytes of each line, its end included, and the line; None for one that is too long.

    A file of one endless line does not fill the memory.
    """
    while raw := file.readline(limit + 1):
        if len(raw) <= limit or raw.endswith(b"\n"):
            yield len(raw), raw
            continue
        size = len(raw)
        while not raw.endswith(b"\n") and (raw := file.readline(limit)):
            size += len(raw)
        yield size, None


@dataclass(frozen=True, slots=True)
class LineParser:
    """Lines to rows, of one format; `header` are the columns of TSV."""

    format: Format
    limit: int  # bytes of a line
    text_column: str = "text"
    header: tuple[str, ...] = field(default=())

    def parse(self, number: int, raw: bytes | None) -> Row | BadRow:
        """What the line with this number holds."""
        if raw is None:
            return BadRow(number, f"is longer than {self.limit} bytes")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            return BadRow(number, f"is not UTF-8 (byte {error.start})")
        if not line.strip():
            return BadRow(number, "is blank", blank=True)
        if self.format == "tsv":
            return self._cells(number, line.split("\t"))
        if self.format == "jsonl":
            return _object(number, line)
        return Row(number, {self.text_column: line})

    def _cells(self, number: int, cells: list[str]) -> Row | BadRow:
        if len(cells) != len(self.header):
            return BadRow(number, f"has {len(cells)} columns and the header {len(self.header)}")
        pairs = zip(self.header, cells, strict=True)
        return Row(number, {name: cell for name, cell in pairs if cell})


def _object(number: int, line: str) -> Row | BadRow:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(number, f"is not JSON: {error}")
    if not isinstance(value, dict):
        return BadRow(number, "is no object of JSON")
    return Row(number, value)


def read_header(raw: bytes | None) -> tuple[str, ...]:
    """The names of TSV's columns from its first line; InvalidInput where that is no header."""
    try:
        line = (raw or b"").decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"line 1 is not UTF-8 (byte {error.start}); convert the file") from None
    return tuple(line.split("\t"))


def read_rows(
    file: IO[bytes], format_: Format, limit: int, read: Callable[[int], None], text_column: str
) -> Iterator[Row | BadRow]:
    """All rows of an open file that is not compressed; `read` is told of the bytes of lines.

    Raises InvalidInput for what is no file of the format at all.
    """
    if format_ == "parquet":
        with parquet_file(file) as table:
            yield from parquet_rows(table, 0)
        return
    lines = raw_lines(file, limit)
    header: tuple[str, ...] = ()
    first = 1
    if format_ == "tsv":
        size, raw = next(lines, (0, b""))
        read(size)
        header, first = read_header(raw), 2
    parser = LineParser(format_, limit, text_column, header)
    for number, (size, raw) in enumerate(lines, start=first):
        read(size)
        yield parser.parse(number, raw)


@contextmanager
def parquet_file(file: IO[bytes] | Path) -> Iterator[Any]:
    """An open Parquet file of pyarrow's; its errors, while it is read too, as InvalidInput."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            yield table
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InvalidInput(f"the file is no Parquet file: {error}") from None


def parquet_rows(table: Any, start: int) -> Iterator[Row]:  # noqa: ANN401
    """The rows of an open Parquet file from one on, counted from 0."""
    before = 0
    groups: list[int] = []
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if groups or before + rows > start:
            groups.append(group)
        else:
            before += rows
    number = before
    for batch in table.iter_batches(_PARQUET_ROWS, row_groups=groups) if groups else ():
        if number + len(batch) <= start:
            number += len(batch)
            continue
        for values in batch.to_pylist():
            number += 1
            if number > start:
                yield Row(number, values)


def document_of(row: Row, columns: Columns, prefix: str) -> dict[str, Any]:
    """A document, as `POST …/documents` takes it, from a row; what is no field is metadata.

    Raises InvalidInput where the row has no text.
    """
    values, own_id = row.values, f"{prefix}{row.number}"
    if values.get(columns.text) is None:
        raise InvalidInput(
            f"row {row.number} has no column {columns.text}; its columns are "
            f"{', '.join(values)[:200]}: name the text's"
        )
    names = (columns.language,) if columns.language else ("language", "lang")
    language = next((name for name in names if values.get(name) is not None), None)
    id_ = values.get(columns.id)
    document: dict[str, Any] = {
        "id": own_id if id_ is None else str(id_),
        "text": values[columns.text],
    }
    if language is not None:
        document["language"] = values[language]
    if values.get(columns.granularity) is not None:
        document["granularity"] = values[columns.granularity]
    own = {columns.id, columns.text, columns.granularity, language}
    metadata = {name: each for name, each in values.items() if name not in own and each is not None}
    if isinstance(metadata.get("metadata"), dict):
        metadata |= metadata.pop("metadata")
    if metadata:
        document["metadata"] = metadata
    return document
