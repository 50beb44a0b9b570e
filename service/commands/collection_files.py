"""Files of documents: lines of text, TSV, lines of JSON, Parquet, and arrays of vectors."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from service.errors import InvalidInput
from service.rows import Columns, Format, Row, document_of, read_rows

_FIELDS = {"id", "text", "language", "granularity", "metadata"}

Document = dict[str, Any]

# Documents of one request, and characters of their texts.
_BATCH = 256
_BATCH_CHARACTERS = 2_000_000

# Bytes of a line: a file of one endless line must not fill the memory.
_LINE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, with what all its documents have in common."""

    file: IO[bytes]
    format: Format
    columns: Columns = field(default_factory=Columns)
    # Written before the number of a line to make the id of a text.
    prefix: str = ""
    language: str | None = None
    granularity: str | None = None
    skip_blank: bool = False

    @property
    def size(self) -> int:
        """Bytes of the file; 0 where that is not known."""
        path = Path(str(getattr(self.file, "name", "")))
        return path.stat().st_size if path.is_file() else 0


def read_documents(source: Source, read: Callable[[int], None]) -> Iterator[Document]:
    """The documents of a file, as `POST …/documents` takes them; `read` is told of bytes read.

    Raises ClickException that names the line at fault.
    """
    common = {
        name: value
        for name, value in (("language", source.language), ("granularity", source.granularity))
        if value is not None
    }
    for row in _rows(source, read):
        yield {**common, **_document(row, source)}


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in the numbers that one request should have."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        text = document.get("text")
        length = len(text) if isinstance(text, str) else 0  # what is no text, the server refuses
        if batch and (len(batch) == _BATCH or characters + length > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += length
    if batch:
        yield batch


def _rows(source: Source, read: Callable[[int], None]) -> Iterator[Row]:
    """The rows of a file; ClickException for the first bad one."""
    text_column = source.columns.text
    rows = read_rows(source.file, source.format, _LINE_BYTES, read, text_column)
    for row in rows:
        if isinstance(row, Row):
            yield row
        elif not row.blank:
            raise click.ClickException(f"line {row.number} {row.reason}; mend the file")
        elif not source.skip_blank:
            raise click.ClickException(
                f"line {row.number} is blank; remove it, or give --skip-blank"
            )


def _document(row: Row, source: Source) -> Document:
    # What an export wrote has vectors beside a document's own fields, and ids of its own.
    if source.format == "jsonl" and row.values.keys() <= _FIELDS:
        return {"id": f"{source.prefix}{row.number}", **row.values}
    try:
        return document_of(row, source.columns, source.prefix)
    except InvalidInput as error:
        raise click.ClickException(f"{error} with --text-column") from None


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
    for row in _rows(Source(file, "jsonl"), lambda _: None):
        document = dict(row.values)
        if embed or "vector" not in document:
            for name in ("vector", "bundle", "version", "adapter"):
                document.pop(name, None)
            if document.get("text") is None:
                raise click.ClickException(f"line {row.number} has no text to embed")
        yield document


def dimensions_of(document: Document) -> dict[str, int]:
    """The settings of a collection that a document with a vector fits into."""
    vector = document.get("vector")
    if isinstance(vector, str):
        return {"dimensions": len(vector) // 4 * 3 // 4}
    return {"dimensions": len(vector)} if isinstance(vector, list) else {}
