"""Read the corpora's two file layouts, pairs and wide, as pairs of an English and another text.

Both are UTF-8 TSV with one header line and no quoting, plain or xz-compressed. `NAME.pairs.tsv`
has source, granularity, id, lang_a, lang_b, text_a, text_b; `NAME.GRANULARITY.wide.tsv` has id,
lang, text, where rows with one id are translations of each other.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from models.bundle import Granularity
from training.errors import TrainingError

PAIRS_COLUMNS = ("source", "granularity", "id", "lang_a", "lang_b", "text_a", "text_b")
WIDE_COLUMNS = ("id", "lang", "text")
ANCHOR = "en"


@dataclass(frozen=True, slots=True)
class Pair:
    """An English text and its translation."""

    id: str
    source: str
    language: str
    english: str
    other: str


def corpus_files(folder: Path, granularity: Granularity) -> list[Path]:
    """The files below `folder` that may hold pairs of `granularity`, sorted by name.

    Raises TrainingError where there is none.
    """
    wide = f".{granularity}.wide.tsv"
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if (name := path.name.removesuffix(".xz")).endswith((".pairs.tsv", wide))
        and not name.startswith(".")
    ]
    if not files:
        raise TrainingError(
            f"no corpus for {granularity} in {folder}: it needs NAME.pairs.tsv[.xz] "
            f"or NAME{wide}[.xz]"
        )
    return files


def read_pairs(
    file: Path, granularity: Granularity, languages: frozenset[str] | None = None
) -> Iterator[Pair]:
    """The English-anchored pairs of one file, one granularity and, where given, some languages.

    Raises TrainingError, with the line number, where the file is not in its layout.
    """
    name = file.name.removesuffix(".xz")
    with open_text(file) as lines:
        if name.endswith(".pairs.tsv"):
            found = _from_pairs(table_rows(file, lines, PAIRS_COLUMNS), granularity)
        else:
            found = _from_wide(table_rows(file, lines, WIDE_COLUMNS), name.split(".")[0])
        for pair in found:
            if languages is None or pair.language in languages:
                yield pair


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """A UTF-8 text file, plain or xz-compressed; lines end at a line feed alone.

    What is read inside the `with` raises TrainingError where the file is damaged or no UTF-8.
    """
    try:
        if file.suffix == ".xz":
            with lzma.open(file, "rt", encoding="utf-8", newline="\n") as lines:
                yield lines
        else:
            with file.open(encoding="utf-8", newline="\n") as lines:
                yield lines
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise TrainingError(f"{file} cannot be read: {error}") from None


def table_rows(file: Path, lines: TextIO, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """The rows of a TSV file that must have exactly `columns`.

    Raises TrainingError, with the line number, where it has others.
    """
    header = tuple(next(lines, "").rstrip("\n").split("\t"))
    if header != columns:
        raise TrainingError(f"{file}: columns are {header}; expected {columns}")
    for number, line in enumerate(lines, start=2):
        row = line.rstrip("\n").split("\t")
        if len(row) != len(columns):
            raise TrainingError(
                f"{file}, line {number}: {len(row)} columns; expected {len(columns)}"
            )
        yield row


def _from_pairs(rows: Iterable[list[str]], granularity: Granularity) -> Iterator[Pair]:
    for source, kind, id_, lang_a, lang_b, text_a, text_b in rows:
        if kind != granularity:
            continue
        if lang_a == ANCHOR and lang_b != ANCHOR:
            yield Pair(id_, source, lang_b, text_a, text_b)
        elif lang_b == ANCHOR and lang_a != ANCHOR:
            yield Pair(id_, source, lang_a, text_b, text_a)


def _from_wide(rows: Iterable[list[str]], source: str) -> Iterator[Pair]:
    # The English of an id may come after its translations: the file is held until its end.
    english: dict[str, str] = {}
    others: list[tuple[str, str, str]] = []
    for id_, language, text in rows:
        if language == ANCHOR:
            # Where an id has several texts, the first is the most usual.
            english.setdefault(id_, text)
        else:
            others.append((id_, language, text))
    for id_, language, text in others:
        if (anchor := english.get(id_)) is not None:
            yield Pair(id_, source, language, anchor, text)
