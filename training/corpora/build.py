"""Build the corpus table: read the inputs, clean every row, bring the rows of an id together, clean
them as translations of each other, and write one Parquet file.

Memory is bounded: rows wait on disk, in buckets by their id, until all inputs are read; then one
bucket after the other is held, and beside it a mark of every aligned text, to drop duplicates.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from training.corpora.cleaning import EntityCleaner, Reason, normalise, row_fault
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.rows import NO_DEFAULTS, Defaults, Row, input_files, read_rows
from training.corpora.table import FORMAT_VERSION, REPORT_KEY, SCHEMA
from training.errors import TrainingError

# A row group ends with the first id that fills it.
ROW_GROUP_ROWS = 100_000
SAMPLES_PER_REASON = 50
_BUCKETS = 64
_BATCH_ROWS = 10_000
_SPILL_ROWS = 4096
_SPILL_SCHEMA = SCHEMA.append(pa.field("evaluation", pa.bool_(), nullable=False))


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a table is built; `evaluation` None means that nothing is kept out of it."""

    evaluation: Path | None
    defaults: Defaults = NO_DEFAULTS
    workers: int = 1
    # Where a sample of the dropped rows goes, as JSON lines.
    dropped: Path | None = None


@dataclass(slots=True)
class Counts:
    """What became of the rows of one source: `read` = `kept` + all of `dropped`."""

    read: int = 0
    normalised: int = 0  # rows whose text NFC or white space changed
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def build(inputs: Sequence[Path], out: Path, options: BuildOptions) -> dict[str, Any]:
    """Write the corpus table `out` and return its report, which it carries as metadata.

    The table depends on the inputs, the test sets and their order alone, not on the workers.
    Raises FileExistsError where `out` exists, and TrainingError where an input breaks its layout.
    Whatever stops it, nothing stands at `out` but a whole table.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; choose another name or delete it")
    files, skipped = input_files(inputs)
    banned = (
        fingerprints(evaluation_texts(options.evaluation))
        if options.evaluation is not None
        else frozenset()
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    ledger = _Ledger()
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        spill_folder = Path(folder)
        buckets = _spill(files, banned, options, spill_folder, ledger)
        staged = spill_folder / "table.parquet"
        with pq.ParquetWriter(staged, SCHEMA, compression="zstd") as writer:
            _write_buckets(buckets, writer, ledger)
            report = {
                "format_version": FORMAT_VERSION,
                "inputs": [
                    {"file": file.name, "bytes": file.stat().st_size, "rows": ledger.by_file[file]}
                    for file in files
                ],
                "files_skipped": [file.name for file in skipped],
                "evaluation_fingerprints": len(banned) if options.evaluation is not None else None,
                "sources": ledger.as_dict(),
            }
            writer.add_key_value_metadata({REPORT_KEY: json.dumps(report, ensure_ascii=False)})
        if not any(counts.kept for counts in ledger.sources.values()):
            raise TrainingError(f"no row is left of the inputs: {ledger.summary()}")
        if options.dropped is not None:
            options.dropped.write_text("".join(ledger.sample_lines()), encoding="utf-8")
        with staged.open("rb") as handle:
            os.fsync(handle.fileno())
        staged.replace(out)
    return report


class _Ledger:
    """Counts by source, and of each reason the rows with the smallest marks: a uniform sample."""

    def __init__(self) -> None:
        self.sources: defaultdict[str, Counts] = defaultdict(Counts)
        self.by_file: Counter[Path] = Counter()
        self._samples: defaultdict[Reason, list[tuple[int, str]]] = defaultdict(list)

    def drop(self, row: Row, reason: Reason, beside: str | None = None) -> None:
        self.sources[row.source].dropped[reason] += 1
        mark = zlib.crc32(f"{row.alignment_id}\t{row.language}\t{row.text}".encode())
        samples = self._samples[reason]
        # A heap of negated marks: its first is the largest mark, the one to give way.
        if len(samples) < SAMPLES_PER_REASON or -mark > samples[0][0]:
            values = {"reason": reason, **row._asdict(), "beside": beside}
            entry = (-mark, json.dumps(values, ensure_ascii=False))
            push = heapq.heappush if len(samples) < SAMPLES_PER_REASON else heapq.heapreplace
            push(samples, entry)

    def sample_lines(self) -> Iterator[str]:
        for reason in Reason:
            yield from (f"{line}\n" for _, line in sorted(self._samples[reason], reverse=True))

    def as_dict(self) -> dict[str, Any]:
        return {
            source: {
                "read": counts.read,
                "normalised": counts.normalised,
                "kept": counts.kept,
                "dropped": {str(each): counts.dropped[each] for each in Reason},
            }
            for source, counts in sorted(self.sources.items())
        }

    def summary(self) -> str:
        total: Counter[str] = Counter()
        for counts in self.sources.values():
            total += counts.dropped
        return ", ".join(f"{count} {reason}" for reason, count in total.most_common()) or "no rows"


_Checked = list[tuple[str, Reason | None]]


def _spill(
    files: Sequence[Path],
    banned: frozenset[bytes],
    options: BuildOptions,
    folder: Path,
    ledger: _Ledger,
) -> list[Path]:
    """Read and check all rows; leave those without a fault of their own in buckets by their id."""
    with (
        _checker(banned, options.workers) as check,
        _Buckets(folder) as buckets,
        tqdm(desc="reading", unit=" rows", unit_scale=True, mininterval=0.5) as progress,
    ):
        batches = _batches(files, options.defaults, ledger, progress)
        for rows, checked in _in_order(batches, check, options.workers):
            for row, (text, fault) in zip(rows, checked, strict=True):
                counts = ledger.sources[row.source]
                counts.read += 1
                counts.normalised += text != row.text
                if fault is None or fault is Reason.EVALUATION:
                    clean = row._replace(text=text)
                    buckets.add(clean, fault is Reason.EVALUATION)
                else:
                    ledger.drop(row, fault)
            progress.update(len(rows))
        return buckets.files


def _batches(
    files: Sequence[Path], defaults: Defaults, ledger: _Ledger, progress: tqdm[Any]
) -> Iterator[list[Row]]:
    for number, file in enumerate(files, start=1):
        progress.set_postfix_str(f"file {number}/{len(files)} {file.name}", refresh=False)
        rows = read_rows(file, defaults)
        while batch := list(islice(rows, _BATCH_ROWS)):
            ledger.by_file[file] += len(batch)
            yield batch


def _check_batch(rows: Sequence[tuple[str, str, str]], banned: frozenset[bytes]) -> _Checked:
    """Normalise texts of (granularity, language, text) and find the fault of each."""
    checked: _Checked = []
    for granularity, language, raw in rows:
        text = normalise(raw)
        checked.append((text, row_fault(granularity, language, text, banned)))
    return checked


_banned_of_worker: frozenset[bytes] = frozenset()


def _start_worker(banned: frozenset[bytes]) -> None:
    global _banned_of_worker
    _banned_of_worker = banned


def _check_in_worker(rows: Sequence[tuple[str, str, str]]) -> _Checked:
    return _check_batch(rows, _banned_of_worker)


_Check = Callable[[Sequence[tuple[str, str, str]]], Future[_Checked]]


@contextmanager
def _checker(banned: frozenset[bytes], workers: int) -> Iterator[_Check]:
    """A function that checks a batch, here or in one of `workers` processes."""
    if workers == 1:

        def check_here(rows: Sequence[tuple[str, str, str]]) -> Future[_Checked]:
            done: Future[_Checked] = Future()
            done.set_result(_check_batch(rows, banned))
            return done

        yield check_here
        return
    # Spawned, not forked: the parent may hold threads (Arrow's).
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_start_worker, initargs=(banned,)
    ) as pool:
        yield lambda rows: pool.submit(_check_in_worker, rows)


def _in_order(
    batches: Iterable[list[Row]], check: _Check, workers: int
) -> Iterator[tuple[list[Row], _Checked]]:
    """Every batch with its check, in order, a few of them under way at a time."""
    waiting: deque[tuple[list[Row], Future[_Checked]]] = deque()
    for rows in batches:
        waiting.append((rows, check([(row.granularity, row.language, row.text) for row in rows])))
        if len(waiting) > 2 * workers:
            first, future = waiting.popleft()
            yield first, future.result()
    for rows, future in waiting:
        yield rows, future.result()


class _Buckets:
    """Rows parted by their id into Arrow files, each small enough to hold."""

    def __init__(self, folder: Path) -> None:
        self.files = [folder / f"{number:02}.arrow" for number in range(_BUCKETS)]
        self._rows: list[list[tuple[Row, bool]]] = [[] for _ in self.files]
        self._writers = [pa.ipc.new_stream(str(file), _SPILL_SCHEMA) for file in self.files]

    def add(self, row: Row, in_evaluation: bool) -> None:
        number = zlib.crc32(row.alignment_id.encode()) % _BUCKETS
        self._rows[number].append((row, in_evaluation))
        if len(self._rows[number]) >= _SPILL_ROWS:
            self._flush(number)

    def _flush(self, number: int) -> None:
        if rows := self._rows[number]:
            texts, flags = zip(*rows, strict=True)
            columns = [*zip(*texts, strict=True), flags]
            arrays = [
                pa.array(column, kind.type)
                for column, kind in zip(columns, _SPILL_SCHEMA, strict=True)
            ]
            self._writers[number].write_batch(pa.record_batch(arrays, schema=_SPILL_SCHEMA))
            self._rows[number] = []

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *_: object) -> None:
        for number, writer in enumerate(self._writers):
            self._flush(number)
            writer.close()


def _write_buckets(buckets: Sequence[Path], writer: pq.ParquetWriter, ledger: _Ledger) -> None:
    cleaner = EntityCleaner()
    waiting: list[Row] = []
    with tqdm(desc="aligning", unit=" rows", unit_scale=True, mininterval=0.5) as progress:
        for number, bucket in enumerate(buckets, start=1):
            progress.set_postfix_str(f"bucket {number}/{len(buckets)}", refresh=False)
            for group in _entities(bucket):
                rows = [row for row, _ in group]
                kept, dropped = cleaner.clean(rows, [found for _, found in group])
                for row in kept:
                    ledger.sources[row.source].kept += 1
                for row, reason in dropped:
                    ledger.drop(row, reason, _beside(rows, row))
                waiting += kept
                if len(waiting) >= ROW_GROUP_ROWS:
                    _write(writer, waiting)
                    waiting = []
                progress.update(len(rows))
            bucket.unlink()
    if waiting:
        _write(writer, waiting)


def _entities(bucket: Path) -> Iterator[list[tuple[Row, bool]]]:
    """The rows of a bucket by id, ids sorted, rows of an id as they were read."""
    with pa.ipc.open_stream(str(bucket)) as stream:
        columns = [column.to_pylist() for column in stream.read_all().columns]
    rows = [(Row._make(values), flag) for *values, flag in zip(*columns, strict=True)]
    rows.sort(key=lambda pair: pair[0].alignment_id)
    for _, group in groupby(rows, key=lambda pair: pair[0].alignment_id):
        yield list(group)


def _beside(rows: Sequence[Row], row: Row) -> str | None:
    """A text that `row` was aligned with, for the sample of dropped rows."""
    return next((each.text for each in rows if each.language != row.language), None)


def _write(writer: pq.ParquetWriter, rows: Sequence[Row]) -> None:
    columns = zip(*rows, strict=True)
    writer.write_table(pa.table([pa.array(each, pa.string()) for each in columns], schema=SCHEMA))
