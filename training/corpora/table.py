"""The corpus table: one Parquet file, its columns, the report that it carries, and its readers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.bundle import Granularity
from training.corpora.rows import Row
from training.corpora.tsv import ANCHOR, Pair
from training.errors import TrainingError

SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in Row._fields])
REPORT_KEY = b"polygrain.corpus"
FORMAT_VERSION = 1
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Entity:
    """Everything that is said under one alignment id, in all languages and granularities; within a
    granularity English comes first."""

    alignment_id: str
    rows: tuple[Row, ...]

    def texts(self, granularity: Granularity, language: str) -> list[str]:
        """Its texts of one granularity in one language, the most usual first."""
        return [
            row.text
            for row in self.rows
            if row.granularity == granularity and row.language == language
        ]

    def cross_granularity(self) -> Iterator[tuple[Row, Row]]:
        """Every two rows of different granularities, the finer first: a name and its description,
        in the same language or in two."""
        order = [str(each) for each in Granularity]
        for finer in self.rows:
            for coarser in self.rows:
                if order.index(finer.granularity) < order.index(coarser.granularity):
                    yield finer, coarser


def read_report(table: Path) -> dict[str, Any]:
    """What the build of `table` counted.

    Raises TrainingError where `table` is no corpus table that this version reads.
    """
    try:
        metadata = pq.read_metadata(table)
    except (OSError, pa.ArrowException) as error:
        raise TrainingError(f"{table} is no Parquet file: {error}") from None
    raw = (metadata.metadata or {}).get(REPORT_KEY)
    if raw is None or metadata.schema.names != SCHEMA.names:
        raise TrainingError(f"{table} was not written by `polygrain-train corpus build`")
    report: dict[str, Any] = json.loads(raw)
    if report["format_version"] != FORMAT_VERSION:
        raise TrainingError(
            f"{table} has format version {report['format_version']}; this program reads "
            f"{FORMAT_VERSION}: build it anew"
        )
    return report


def read_table(
    table: Path,
    granularities: Iterable[str] | None = None,
    languages: Iterable[str] | None = None,
    excluded_sources: Iterable[str] = (),
) -> Iterator[Entity]:
    """The entities of a table in its order, each whole but for the rows that the filters leave out;
    memory is bounded by a few thousand rows.

    Raises TrainingError where `table` is no corpus table.
    """
    read_report(table)
    rows = _read_rows(table, granularities, languages, excluded_sources)
    for alignment_id, group in groupby(rows, key=lambda row: row.alignment_id):
        yield Entity(alignment_id, tuple(group))


def table_pairs(
    table: Path,
    granularity: Granularity,
    languages: frozenset[str],
    excluded_sources: frozenset[str] = frozenset(),
) -> Iterator[Pair]:
    """The pairs of an English text and its translation, one for every text in one of `languages`;
    where an id has several English texts, its first is taken, which is the most usual."""
    entities = read_table(table, (granularity,), {ANCHOR, *languages}, excluded_sources)
    for entity in entities:
        english = next((row.text for row in entity.rows if row.language == ANCHOR), None)
        if english is not None:
            for row in entity.rows:
                if row.language != ANCHOR:
                    yield Pair(row.alignment_id, row.source, row.language, english, row.text)


def _read_rows(
    table: Path,
    granularities: Iterable[str] | None,
    languages: Iterable[str] | None,
    excluded_sources: Iterable[str],
) -> Iterator[Row]:
    wanted = {"granularity": granularities, "language": languages}
    kept = {
        name: pa.array(sorted(map(str, each))) for name, each in wanted.items() if each is not None
    }
    excluded = pa.array(sorted(excluded_sources), pa.string())
    with pq.ParquetFile(table) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS):
            mask = pc.invert(pc.is_in(batch["source"], excluded))
            for name, values in kept.items():
                mask = pc.and_(mask, pc.is_in(batch[name], values))
            columns = [column.to_pylist() for column in batch.filter(mask).columns]
            yield from map(Row._make, zip(*columns, strict=True))
