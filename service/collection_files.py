"""Files of documents: lines of text, TSV, lines of JSON, Parquet, and arrays of vectors."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import click
import numpy as np
import orjson

Format = Literal["lines", "tsv", "jsonl", "parquet"]

FORMATS: dict[str, Format] = {
    ".txt": "lines",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}

Document = dict[str, Any]

# Documents of one request, and characters of their texts.
_BATCH = 256
_BATCH_CHARACTERS = 2_000_000

_PARQUET_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table hold what; the others go into the metadata."""

    id: str = "id"
    text: str = "text"
    language: str | None = None  # None: `language`, or else `lang`, where there is one
    granularity: str = "granularity"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, with what all its documents have in common."""

    file: IO[bytes]
    format: Format
    columns: Columns = Columns()
    # Written before the number of a line to make the id of a text.
    prefix: str = ""
    language: str | None = None
    granularity: str | None = None
    skip_blank: bool = False

    @property
    def size(self) -> int:
        """Bytes of the file; 0 where that is not known."""
        path = Path(self.file.name) if isinstance(self.file.name, str) else None
        return path.stat().st_size if path is not None and path.is_file() else 0


def read_documents(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    """The documents of a file, as `POST …/documents` takes them; `read` is told of bytes read.

    Raises ClickException that names the line at fault.
    """
    documents = _READERS[source.format](source, read)
    common = {
        name: value
        for name, value in (("language", source.language), ("granularity", source.granularity))
        if value is not None
    }
    for document in documents:
        yield {**common, **document}


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in the numbers that one request should have."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        length = len(document.get("text") or "")
        if batch and (len(batch) == _BATCH or characters + length > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += length
    if batch:
        yield batch


def _lines(source: Source, read: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(source.file, start=1):
        read(len(raw))
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.ClickException(
                f"line {number} is not UTF-8 (byte {error.start}); convert the file"
            ) from None
        if line.strip():
            yield number, line
        elif not source.skip_blank:
            raise click.ClickException(f"line {number} is blank; remove it, or give --skip-blank")


def _read_lines(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    for number, line in _lines(source, read):
        yield {"id": f"{source.prefix}{number}", "text": line}


def _read_tsv(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    lines = _lines(source, read)
    _, header = next(lines, (0, ""))
    names = header.split("\t")
    for number, line in lines:
        values = line.split("\t")
        if len(values) != len(names):
            raise click.ClickException(
                f"line {number} has {len(values)} columns and the header {len(names)}"
            )
        row = {name: value for name, value in zip(names, values, strict=True) if value}
        yield _of_row(row, source, number)


def _read_jsonl(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    for number, line in _lines(source, read):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise click.ClickException(f"line {number} is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise click.ClickException(f"line {number} is no object of JSON")
        if source.columns.id not in value:
            value[source.columns.id] = f"{source.prefix}{number}"
        known = {"id", "text", "language", "granularity", "metadata"}
        yield value if value.keys() <= known else _of_row(value, source, number)


def _read_parquet(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise click.ClickException(
            "Parquet needs pyarrow: pip install 'polygrain[parquet]', or convert the file to TSV "
            "or JSON lines"
        ) from None
    try:
        table = parquet.ParquetFile(source.file)
        number = 0
        for batch in table.iter_batches(_PARQUET_ROWS):
            read(source.size * len(batch) // max(1, table.metadata.num_rows))
            for row in batch.to_pylist():
                number += 1
                yield _of_row(row, source, number)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise click.ClickException(f"{source.file.name} is no Parquet file: {error}") from None


_READERS: Mapping[str, Callable[[Source, Callable[[int], None]], Iterator[Document]]] = {
    "lines": _read_lines,
    "tsv": _read_tsv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


def _of_row(row: Mapping[str, Any], source: Source, number: int) -> Document:
    """A document from a row of a table; what is no field of its own is metadata."""
    columns = source.columns
    if row.get(columns.text) is None:
        raise click.ClickException(
            f"row {number} has no column {columns.text}; its columns are "
            f"{', '.join(row)[:200]}: name the text's with --text-column"
        )
    names = (columns.language,) if columns.language else ("language", "lang")
    language = next((name for name in names if row.get(name) is not None), None)
    document: Document = {
        "id": str(row.get(columns.id, f"{source.prefix}{number}")),
        "text": row[columns.text],
    }
    if language is not None:
        document["language"] = row[language]
    if row.get(columns.granularity) is not None:
        document["granularity"] = row[columns.granularity]
    given = row.get("metadata")
    own = {columns.id, columns.text, columns.granularity, language, "metadata"}
    rest = {name: value for name, value in row.items() if name not in own and value is not None}
    metadata = {**rest, **given} if isinstance(given, dict) else rest
    if metadata:
        document["metadata"] = metadata
    return document


def read_vectors(array: Path, ids: IO[bytes]) -> Iterator[Document]:
    """Documents with the rows of a `.npy` array as their vectors, and a line of `ids` for each."""
    try:
        rows = np.load(array, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{array} is no array of numpy: {error}") from None
    if rows.ndim != 2 or rows.dtype.kind != "f":
        raise click.ClickException(
            f"{array} has shape {rows.shape} and type {rows.dtype}; it must be (rows, dimensions) "
            "of floating point"
        )
    names = [raw.decode().rstrip("\r\n") for raw in ids]
    if len(names) != len(rows):
        raise click.ClickException(f"{array} has {len(rows)} rows and {ids.name} {len(names)} ids")
    for name, row in zip(names, rows, strict=True):
        vector = np.ascontiguousarray(row, "<f4").tobytes()
        yield {"id": name, "vector": base64.b64encode(vector).decode()}


def read_export(file: IO[bytes], embed: bool) -> Iterator[Document]:
    """The documents that an export wrote; with `embed`, without their vectors."""
    for number, line in _lines(Source(file, "jsonl"), lambda _: None):
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise click.ClickException(f"line {number} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise click.ClickException(f"line {number} is no object of JSON")
        if embed or "vector" not in document:
            for name in ("vector", "bundle", "version", "adapter"):
                document.pop(name, None)
            if document.get("text") is None:
                raise click.ClickException(f"line {number} has no text to embed")
        yield document


def dimensions_of(document: Document) -> dict[str, int]:
    """The settings of a collection that a document with a vector fits into."""
    vector = document.get("vector")
    if isinstance(vector, str):
        return {"dimensions": len(vector) // 4 * 3 // 4}
    return {"dimensions": len(vector)} if isinstance(vector, list) else {}
