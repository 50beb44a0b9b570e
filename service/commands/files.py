"""The same work on files, without a server: how lines are read, and what `embed` writes."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import numpy as np

from models.bundle import Granularity
from service.api.responses import facts_json, write_json
from service.encoding.encoder import Encoded, Encoder, Options, Unit
from service.encoding.session import Vectors, Wish
from service.settings import Settings

# Lines that are embedded together; enough for full batches, few enough to stream.
_CHUNK_LINES = 1_024


@dataclass(frozen=True, slots=True)
class Reading:
    """How the lines of a file are read."""

    granularity: str
    adapter: str | None = None
    skip_blank: bool = False

    def unit(self, text: str, origin: str) -> Unit:
        """A line as a text to embed."""
        chosen = None if self.granularity == "auto" else Granularity(self.granularity)
        return Unit(text, origin, chosen, self.adapter)


def embed_lines(
    file: IO[bytes], reading: Reading, options: Options, out: Path | None, settings: Settings
) -> None:
    """Write the vectors of a file's lines: JSON lines to standard output, or to `out` as .npy."""
    encoder = open_encoder(settings)
    if reading.adapter is not None:
        _check_adapter(reading.adapter, encoder)
    units = (
        (number, reading.unit(text, f"line {number}"))
        for number, text in _numbered_lines(file, "line", reading.skip_blank)
    )
    chunks = _chunks(units, encoder, options, settings.batch_tokens)
    if out is None:
        _write_json_lines(chunks)
    else:
        _write_array(out, (encoded.vectors for _, encoded in chunks), encoder.manifest.dimension)


def open_encoder(settings: Settings) -> Encoder:
    """The bundle of `settings` at work."""
    return Encoder.open(settings.bundle, threads=settings.threads, wish=Wish.of(settings))


def _check_adapter(name: str, encoder: Encoder) -> None:
    adapters = [a.name for a in encoder.manifest.adapters if a.granularity is not Granularity.WORD]
    if name not in adapters:
        raise click.BadParameter(
            f"{name!r} is no adapter of the bundle; use one of {', '.join(adapters)}",
            param_hint="--adapter",
        )


def _chunks(
    units: Iterable[tuple[int, Unit]], encoder: Encoder, options: Options, batch_tokens: int
) -> Iterator[tuple[list[int], Encoded]]:
    """Line numbers and what became of their texts, some lines at a time."""
    remaining = iter(units)
    while chunk := list(itertools.islice(remaining, _CHUNK_LINES)):
        numbers = [number for number, _ in chunk]
        texts = [unit for _, unit in chunk]
        yield numbers, encoder.encode(texts, options, batch_tokens=batch_tokens)


def _write_json_lines(chunks: Iterable[tuple[list[int], Encoded]]) -> None:
    stdout = sys.stdout.buffer
    for numbers, encoded in chunks:
        for number, vector, facts in zip(numbers, encoded.vectors, encoded.facts, strict=True):
            line = {"line": number, "embedding": vector, **facts_json(facts)}
            stdout.write(write_json(line) + b"\n")
        stdout.flush()


def _write_array(path: Path, blocks: Iterable[Vectors], dimension: int) -> None:
    """Write blocks of rows as one `.npy` file, whole or not at all, one block in memory."""
    with written_whole(path) as file:
        # numpy leaves room in the header for the row count to grow, so it is written twice.
        _write_header(file, 0, dimension)
        rows = 0
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").tobytes())
            rows += len(block)
        file.seek(0)
        _write_header(file, rows, dimension)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets the name `path` once all is written, and vanishes if that fails.

    ClickException where it cannot be made.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _write_header(file: IO[bytes], rows: int, dimension: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(file, header)


def file_units(file: IO[bytes], reading: Reading) -> list[tuple[int, Unit]]:
    """The lines of a file with their numbers; at least one, or ClickException."""
    origin = f"{file.name} line"
    units = [
        (number, reading.unit(text, f"{origin} {number}"))
        for number, text in _numbered_lines(file, origin, reading.skip_blank)
    ]
    if not units:
        raise click.ClickException(f"{file.name} has no lines; there is nothing to align")
    return units


def _numbered_lines(file: IO[bytes], origin: str, skip_blank: bool) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 with their numbers, from 1, without line ends."""
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.ClickException(
                f"{origin} {number} is not UTF-8 (byte {error.start}); convert the file"
            ) from None
        if text.strip():
            yield number, text
        elif not skip_blank:
            raise click.ClickException(
                f"{origin} {number} is blank; remove it, or give --skip-blank"
            )
