"""Read a file of lines once: what can be embedded, each text once, into arrays on disk.

No object is kept for a line: texts go to one file, the rest into arrays.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from models.bundle import sha256_of
from service.alignment.mining.state import whole_file, write_json
from service.errors import InvalidInput
from service.rows import opened, raw_lines

Offsets = NDArray[np.int64]

# The longest line that is taken; a file of one endless line must not fill the memory.
MAX_LINE_BYTES = 400_000
# Lines between two reports.
_REPORT_LINES = 4_096
_ERRORS = "errors.tsv"
_TEXTS = "texts.bin"
_PLACES = "places.npy"
_READ = "read.json"


@dataclass(frozen=True, slots=True)
class Texts:
    """The distinct texts of one file in its order, on disk."""

    folder: Path
    # (texts, 3): the number of the line, from 1, and where its bytes begin and end in the file.
    places: NDArray[np.int64]
    # What was read: lines, kept, and how many were left out for which reason.
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.places)

    def load(self, start: int, end: int) -> list[str]:
        """Some texts that stand together."""
        with (self.folder / _TEXTS).open("rb") as file:
            return [self._one(file, index) for index in range(start, end)]

    @contextmanager
    def reader(self) -> Iterator[Callable[[int], str]]:
        """Texts one by one, in any order."""
        with (self.folder / _TEXTS).open("rb") as file:
            yield lambda index: self._one(file, index)

    def _one(self, file: IO[bytes], index: int) -> str:
        _, start, end = self.places[index]
        file.seek(start)
        return file.read(end - start).decode()

    @property
    def errors(self) -> Path:
        """Lines that cannot be embedded: number, tab, reason."""
        return self.folder / _ERRORS


def read_texts(path: Path, folder: Path, progress: Callable[[int, int], None]) -> Texts:
    """The texts of `path`, plain, .gz or .zst, as `folder` holds them; read where it does not yet.

    Blank lines, lines without a letter or digit, and repetitions (in letters and digits, after
    NFKC and casefold; the first stays) are left out and counted. What is no text (not UTF-8, too
    long, with a NUL) is also named in `errors`. `progress` gets bytes of the file as it lies
    there. Raises InvalidInput where the file cannot be read.
    """
    if not (folder / _READ).exists():
        folder.mkdir(exist_ok=True)
        try:
            _read(path, folder, progress)
        except (EOFError, zlib.error, OSError) as error:
            raise InvalidInput(
                f"{path} cannot be read: {error}; is it whole, and named for its compression "
                "(.gz, .zst)?",
                "inputs",
            ) from None
    counts = json.loads((folder / _READ).read_text(encoding="utf-8"))["counts"]
    return Texts(folder, np.load(folder / _PLACES, mmap_mode="r"), counts)


def _read(path: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    sha256 = sha256_of(path)
    lines = _Lines()
    with (
        opened(path) as (file, position),
        whole_file(folder / _TEXTS) as texts,
        whole_file(folder / _ERRORS) as errors,
    ):
        total = path.stat().st_size
        for number, (_, raw) in enumerate(raw_lines(file, MAX_LINE_BYTES), start=1):
            text = lines.take(number, raw)
            if isinstance(text, str):
                errors.write(f"{number}\t{text}\n".encode())
            elif text is not None:
                texts.write(text)
            if number % _REPORT_LINES == 0:
                progress(min(position(), total), total)
        progress(total, total)
    places, counts = lines.distinct()
    with whole_file(folder / _PLACES) as file:
        np.save(file, places)
    write_json(folder / _READ, {"source": str(path), "sha256": sha256, "counts": counts})


class _Lines:
    """What is known of the lines so far, in arrays."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter(
            lines=0, blank=0, not_text=0, without_letters=0, repeated=0, repeated_letters=0
        )
        self._numbers, self._ends = array("q"), array("q")
        self._exact, self._letters = array("Q"), bytearray()
        self._end = 0

    def take(self, number: int, raw: bytes | None) -> bytes | str | None:
        """The bytes of a line that stays, None for one that is left out, or why it is no text."""
        self._counts["lines"] += 1
        fault, text = _decoded(raw, first=number == 1)
        if fault is not None:
            self._counts["not_text"] += 1
            return fault
        if not text:
            self._counts["blank"] += 1
            return None
        folded = unicodedata.normalize("NFKC", text).casefold()
        letters = "".join(filter(str.isalnum, folded))
        if not letters:
            self._counts["without_letters"] += 1
            return None
        content = text.encode()
        self._exact.frombytes(blake2b(content, digest_size=8).digest())
        self._letters += blake2b(letters.encode(), digest_size=16).digest()
        self._end += len(content)
        self._numbers.append(number)
        self._ends.append(self._end)
        return content

    def distinct(self) -> tuple[Offsets, dict[str, int]]:
        """The places of the texts that repeat none before them, and all counts."""
        numbers = np.array(self._numbers, np.int64)
        ends = np.array(self._ends, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        marks = np.frombuffer(bytes(self._letters), np.uint64).reshape(-1, 2)
        order = np.lexsort((marks[:, 1], marks[:, 0]))  # stable: of equals the first line first
        ordered = marks[order]
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        kept = np.sort(order[is_first])
        exact = len(np.unique(np.array(self._exact, np.uint64)))
        self._counts["repeated"] = len(numbers) - exact
        self._counts["repeated_letters"] = exact - len(kept)
        places = np.stack([numbers, starts, ends], axis=1)[kept]
        return places, {**self._counts, "kept": len(kept)}


def _decoded(raw: bytes | None, *, first: bool) -> tuple[str | None, str]:
    """Why a line is no text, or the text without space at its ends."""
    if raw is None:
        return f"longer than {MAX_LINE_BYTES} bytes", ""
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8").strip()
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start} of the line)", ""
    return ("holds a NUL character", "") if "\0" in text else (None, text)
