"""How an input is cut into shards, each a run of whole rows; together every row once, in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from service.alignment.mining.state import write_json
from service.errors import InvalidInput
from service.jobs.sources import Source
from service.rows import (
    BadRow,
    LineParser,
    Row,
    opened,
    parquet_file,
    parquet_rows,
    raw_lines,
    read_header,
)

# What a process that is killed does again at most, of each job that runs.
SHARD_ROWS = 1_024
SHARD_BYTES = 8 << 20

# Rows between two reports.
_REPORT_ROWS = 16_384
_SKIP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows that stand together: a unit of work that is done or not."""

    number: int
    first_row: int  # counted from 0, the header left out
    rows: int
    # Where its bytes begin, in the file once decompressed; 0 in Parquet.
    offset: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of an input, and what must not have changed before they are read."""

    mark: str
    header: tuple[str, ...]
    rows: int
    shards: tuple[Shard, ...]
    line_bytes: int  # a longer line is no row

    def write(self, path: Path) -> None:
        """Write it whole, or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """What `write` wrote."""
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        shards = tuple(Shard(**each) for each in value["shards"])
        return cls(**{**value, "header": tuple(value["header"]), "shards": shards})


def cut(
    sizes: Iterable[int], offset: int, max_rows: int = SHARD_ROWS, max_bytes: int = SHARD_BYTES
) -> Iterator[Shard]:
    """Shards of rows with these sizes in bytes, of which the first begins at `offset`.

    A shard has at most `max_rows`, and ends with the row that reaches `max_bytes`.
    """
    number = row = start = rows = 0
    begin = offset
    for size in sizes:
        row, rows, offset = row + 1, rows + 1, offset + size
        if rows == max_rows or offset - begin >= max_bytes:
            yield Shard(number, start, rows, begin)
            number, start, rows, begin = number + 1, row, 0, offset
    if rows:
        yield Shard(number, start, rows, begin)


def make_plan(source: Source, line_bytes: int, report: Callable[[int, int], None]) -> Plan:
    """Read a file once and cut it; `report` gets the bytes read and those of the file, and may
    raise to stop. Raises InvalidInput where it cannot be read to its end."""
    mark = source.mark
    try:
        if source.format == "parquet":
            return _plan_parquet(source, mark, line_bytes)
        return _plan_lines(source, mark, line_bytes, report)
    except (EOFError, OSError, ValueError) as error:
        raise InvalidInput(f"{source.name} cannot be read: {error}; is it whole?") from None


def _plan_lines(
    source: Source, mark: str, line_bytes: int, report: Callable[[int, int], None]
) -> Plan:
    total = source.path.stat().st_size
    with opened(source.path) as (file, position):
        lines = raw_lines(file, line_bytes)
        header: tuple[str, ...] = ()
        offset = 0
        if source.format == "tsv":
            offset, raw = next(lines, (0, b""))
            header = read_header(raw)

        def sizes() -> Iterator[int]:
            for number, (size, _) in enumerate(lines):
                if number % _REPORT_ROWS == 0:
                    report(min(position(), total), total)
                yield size

        shards = tuple(cut(sizes(), offset))
    report(total, total)
    return Plan(mark, header, sum(each.rows for each in shards), shards, line_bytes)


def _plan_parquet(source: Source, mark: str, line_bytes: int) -> Plan:
    with parquet_file(source.path) as table:
        rows, header = table.metadata.num_rows, tuple(table.schema_arrow.names)
    shards = tuple(
        Shard(number, start, min(SHARD_ROWS, rows - start), 0)
        for number, start in enumerate(range(0, rows, SHARD_ROWS))
    )
    return Plan(mark, header, rows, shards, line_bytes)


class ShardReader:
    """Reads shards of a plan, quickly where they come in order. For one thread at a time."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self._source = source
        self._plan = plan
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None
        self._rows: Iterator[Row] | None = None
        # The next byte, or row of Parquet, that would be read.
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def read(self, shard: Shard) -> list[Row | BadRow]:
        """The rows of a shard. Raises InvalidInput where the file was changed since the plan."""
        try:
            if self._source.mark != self._plan.mark:
                raise InvalidInput(
                    f"{self._source.name} was changed while the job ran; submit it again"
                )
            rows = self._parquet(shard) if self._source.format == "parquet" else self._lines(shard)
        except (EOFError, OSError, ValueError) as error:
            raise InvalidInput(f"{self._source.name} cannot be read: {error}") from None
        if len(rows) != shard.rows:
            raise InvalidInput(
                f"{self._source.name} has other rows than when the job began; submit it again"
            )
        return rows

    def _parquet(self, shard: Shard) -> list[Row | BadRow]:
        if self._rows is None or self._next != shard.first_row:
            self._stack.close()
            table = self._stack.enter_context(parquet_file(self._source.path))
            self._rows = parquet_rows(table, shard.first_row)
        self._next = shard.first_row + shard.rows
        return list(islice(self._rows, shard.rows))

    def _lines(self, shard: Shard) -> list[Row | BadRow]:
        file = self._at(shard.offset)
        parser = LineParser(
            self._source.format,
            self._plan.line_bytes,
            self._source.columns.text,
            self._plan.header,
        )
        first = shard.first_row + (2 if self._source.format == "tsv" else 1)
        rows: list[Row | BadRow] = []
        for size, raw in islice(raw_lines(file, self._plan.line_bytes), shard.rows):
            self._next += size
            rows.append(parser.parse(first + len(rows), raw))
        return rows

    def _at(self, offset: int) -> IO[bytes]:
        """The open file at an offset; what is compressed is read up to there."""
        if self._file is None or (self._source.is_compressed and self._next > offset):
            self._stack.close()
            self._file, _ = self._stack.enter_context(opened(self._source.path))
            self._next = 0
        if not self._source.is_compressed:
            self._file.seek(offset)
            self._next = offset
        while self._next < offset:
            skipped = len(self._file.read(min(_SKIP_BYTES, offset - self._next)))
            if not skipped:
                raise EOFError("it ends early")
            self._next += skipped
        return self._file
