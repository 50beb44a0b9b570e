"""Read every kind of input as rows: one text in one language, under the id that it shares with its
translations.

Four kinds of files, told apart by their names; all but Parquet may end in `.xz` as well:

    NAME.pairs.tsv              `tsv.PAIRS_COLUMNS`
    NAME.GRANULARITY.wide.tsv   `tsv.WIDE_COLUMNS`
    NAME.tsv, NAME.jsonl, NAME.parquet   alignment_id, language, text, and optionally source,
                                licence, granularity; other columns are ignored
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from models.bundle import TEXT_GRANULARITIES
from training.corpora.sources import known_sources
from training.corpora.tsv import ANCHOR, PAIRS_COLUMNS, WIDE_COLUMNS, open_text, table_rows
from training.errors import TrainingError

REQUIRED_COLUMNS = ("alignment_id", "language", "text")
OPTIONAL_COLUMNS = ("source", "licence", "granularity")
_GRANULARITIES = tuple(str(each) for each in TEXT_GRANULARITIES)
# Other names of the anchor language; it must be known under one.
_ANCHOR_CODES = frozenset({"eng", "eng_Latn"})
_READ_ROWS = 8192
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(NamedTuple):
    """A text; all rows of one alignment id say the same thing."""

    alignment_id: str
    source: str
    licence: str
    granularity: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """What rows get whose file does not say it; without one, such a file is an error."""

    licence: str | None = None
    granularity: str | None = None


NO_DEFAULTS = Defaults()


def input_files(inputs: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files to read, sorted within each input, and those that a folder has beside them and
    that hold no rows.

    Raises TrainingError where an input does not exist, a named file is of no known kind, or
    nothing is left to read.
    """
    found: list[Path] = []
    skipped: list[Path] = []
    for each in inputs:
        if each.is_dir():
            for path in filter(Path.is_file, sorted(each.rglob("*"))):
                if any(part.startswith(".") for part in path.relative_to(each).parts):
                    continue  # hidden, or in a hidden folder such as the downloads of `fetch`
                (found if _has_rows(path) else skipped).append(path)
        elif not each.exists():
            raise TrainingError(f"input {each} does not exist")
        elif _kind(each) is None:
            raise TrainingError(
                f"input {each} is of no known kind; name it NAME.pairs.tsv, "
                "NAME.GRANULARITY.wide.tsv, NAME.tsv, NAME.jsonl or NAME.parquet"
            )
        else:
            found.append(each)
    # A file reached twice, by its folder and by name, must not count twice.
    files = list({path.resolve(): path for path in found}.values())
    if not files:
        raise TrainingError("the inputs hold no corpus file; see docs/corpora.md for their names")
    return files, skipped


def read_rows(file: Path, defaults: Defaults = NO_DEFAULTS) -> Iterator[Row]:
    """The rows of one file, in its order.

    Two texts of a pair become two rows; an anchor that repeats under its id is given once. An id
    of a pairs file that stands for several anchors becomes one id for each, so that every
    translation stays with the text that it translates.

    Raises TrainingError, with the line or row number, where the file breaks its layout, or where
    a row's licence or granularity is not known from it, `defaults` or the table of sources.
    """
    kind = _kind(file)
    name = file.name.split(".")[0]
    if kind == "pairs":
        return _from_pairs(file, defaults)
    if kind == "wide":
        return _from_wide(file, name, defaults)
    return _from_columns(file, name, defaults)


def _kind(file: Path) -> str | None:
    name = file.name.removesuffix(".xz")
    if name.endswith(".pairs.tsv"):
        return "pairs"
    if name.endswith(".wide.tsv"):
        return "wide"
    if name.endswith((".tsv", ".jsonl")):
        return name.rsplit(".", 1)[1]
    return "parquet" if file.suffix == ".parquet" else None


def _has_rows(file: Path) -> bool:
    kind = _kind(file)
    if kind != "tsv":
        return kind is not None
    with open_text(file) as lines:
        return "alignment_id" in next(lines, "").rstrip("\n").split("\t")


def _from_pairs(file: Path, defaults: Defaults) -> Iterator[Row]:
    licences = _Licences(file, defaults)
    anchors: dict[str, bytes] = {}
    with open_text(file) as lines:
        rows = table_rows(file, lines, PAIRS_COLUMNS)
        for number, (source, granularity, id_, lang_a, lang_b, text_a, text_b) in enumerate(
            rows, start=2
        ):
            granularity = _granularity(file, number, granularity)
            lang_a, lang_b = _language(lang_a), _language(lang_b)
            if lang_b == ANCHOR:
                lang_a, lang_b, text_a, text_b = lang_b, lang_a, text_b, text_a
            licence = licences.of(source)
            digest = hashlib.blake2b(f"{lang_a}\t{text_a}".encode(), digest_size=6).digest()
            if anchors.get(id_, digest) != digest:
                id_ = f"{id_}#{digest.hex()}"
            if id_ not in anchors:
                anchors[id_] = digest
                yield Row(id_, source, licence, granularity, lang_a, text_a)
            yield Row(id_, source, licence, granularity, lang_b, text_b)


def _from_wide(file: Path, source: str, defaults: Defaults) -> Iterator[Row]:
    parts = file.name.removesuffix(".xz").split(".")
    granularity = _granularity(file, None, parts[-3] if len(parts) > 3 else "")
    licence = _Licences(file, defaults).of(source)
    with open_text(file) as lines:
        for id_, language, text in table_rows(file, lines, WIDE_COLUMNS):
            yield Row(id_, source, licence, granularity, _language(language), text)


def _from_columns(file: Path, name: str, defaults: Defaults) -> Iterator[Row]:
    licences = _Licences(file, defaults)
    for number, values in _values(file):
        for column in REQUIRED_COLUMNS:
            value = values.get(column)
            # An empty text is a fault of the row, which the build counts; no id is one of the file.
            if not isinstance(value, str) or not (value or column == "text"):
                raise TrainingError(
                    f"{file}, row {number}: {column} is {str(value)[:40]!r}; "
                    "every row needs alignment_id, language and text, each a text"
                )
        source = _optional(file, number, values, "source") or name
        yield Row(
            str(values["alignment_id"]),
            source,
            _optional(file, number, values, "licence") or licences.of(source),
            _granularity(
                file,
                number,
                _optional(file, number, values, "granularity") or defaults.granularity or "",
            ),
            _language(str(values["language"])),
            str(values["text"]),
        )


def _values(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    kind = _kind(file)
    if kind == "parquet":
        try:
            with pq.ParquetFile(file) as parquet:
                yield from _parquet_values(file, parquet)
        except (UnicodeDecodeError, pa.ArrowException) as error:
            raise TrainingError(f"{file} cannot be read: {error}") from None
        return
    with open_text(file) as lines:
        yield from (_jsonl_values if kind == "jsonl" else _tsv_values)(file, lines)


def _parquet_values(
    file: Path, parquet: pq.ParquetFile
) -> Iterator[tuple[int, Mapping[str, object]]]:
    names = parquet.schema_arrow.names
    _check_columns(file, names)
    columns = [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if name in names]
    number = 0
    for batch in parquet.iter_batches(_READ_ROWS, columns=columns):
        for values in batch.to_pylist():
            number += 1
            yield number, values


def _tsv_values(file: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    iterator = iter(lines)
    header = next(iterator, "").rstrip("\r\n").split("\t")
    _check_columns(file, header)
    for number, line in enumerate(iterator, start=2):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != len(header):
            raise TrainingError(
                f"{file}, line {number}: {len(cells)} columns; expected {len(header)}"
            )
        yield number, dict(zip(header, cells, strict=True))


def _jsonl_values(file: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise TrainingError(f"{file}, line {number} is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise TrainingError(f"{file}, line {number} is no JSON object")
        if any(isinstance(each, str) and _SURROGATE.search(each) for each in values.values()):
            raise TrainingError(
                f"{file}, line {number} has half a surrogate pair, which is no text"
            )
        yield number, values


def _check_columns(file: Path, names: Sequence[str]) -> None:
    if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
        raise TrainingError(
            f"{file} has no column {' or '.join(missing)}; it needs {', '.join(REQUIRED_COLUMNS)} "
            f"and may have {', '.join(OPTIONAL_COLUMNS)}"
        )


def _optional(file: Path, number: int, values: Mapping[str, object], column: str) -> str | None:
    value = values.get(column)
    if value is not None and not isinstance(value, str):
        raise TrainingError(f"{file}, row {number}: {column} is {str(value)[:40]!r}, no text")
    return value or None


def _granularity(file: Path, number: int | None, value: str) -> str:
    if value not in _GRANULARITIES:
        place = file if number is None else f"{file}, row {number}"
        raise TrainingError(
            f"{place}: granularity is {value[:40]!r}; use one of {', '.join(_GRANULARITIES)}, "
            "in a column, in the name of a wide file, or as --granularity"
        )
    return value


def _language(code: str) -> str:
    return ANCHOR if code in _ANCHOR_CODES else code


class _Licences:
    """The licence of each source of one file."""

    def __init__(self, file: Path, defaults: Defaults) -> None:
        self._file = file
        self._default = defaults.licence

    def of(self, source: str) -> str:
        if (known := known_sources().get(source)) is not None:
            return known.licence
        if self._default is None:
            raise TrainingError(
                f"{self._file}: the licence of source {source[:40]!r} is not known; "
                "give it as --licence or in a column named licence"
            )
        return self._default
