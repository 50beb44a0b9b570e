"""An align job: `service.alignment.mining` on two inputs, through the server's own engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Granularity
from service.alignment.calibration import Calibration
from service.alignment.mining import Job as MiningJob
from service.alignment.mining import Mined, Stage, mine
from service.alignment.mining.state import side_folder, whole_file
from service.alignment.scoring import Floats, Score
from service.encoding.encoder import Options, Unit
from service.errors import InvalidInput
from service.faiss_library import threads
from service.jobs import store
from service.jobs.context import Context
from service.jobs.shards import error_line
from service.jobs.sources import Source
from service.jobs.specs import Spec
from service.jobs.texts import fault_of, patiently
from service.retrieval.values import Cancel
from service.rows import BadRow, opened, read_rows

SIDES = ("source", "target")

# Texts that are embedded together and searched at a time: what a killed job does again at most.
_BLOCK_TEXTS = 4_096
_PORTION = 256

_REPORT_S = 0.5
_READING = (Stage.READ_SOURCE, Stage.READ_TARGET)

# Given the stage of a running job; raises to stop it.
Report = Callable[[store.Stage], None]


class TooManyErrors(InvalidInput):
    """More rows are bad than the job's owner allows."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """What an alignment left: its pairs lie at `MiningJob.out`."""

    mined: Mined
    # Of both inputs.
    rows: int
    errors: int


def align(
    spec: Spec,
    sources: Sequence[Source],
    folder: Path,
    out: Path,
    context: Context,
    loop: asyncio.AbstractEventLoop,
    cancel: Cancel,
    report: Report,
) -> Aligned:
    """Pair the texts of two inputs, in a thread of its own; a killed one is continued by the same
    call, with the same pairs. The errors file is written beside `out`."""
    options = spec.options
    what: dict[str, Any] = {
        "score": Score(options["score"]),
        "granularity": Granularity(options["granularity"]),
        "languages": None if options["languages"] is None else tuple(options["languages"]),
    }
    calibration = Calibration.of(context.manifest)
    inputs = [
        _as_lines(source, folder / f"{side}.txt", context)
        for source, side in zip(sources, SIDES, strict=True)
    ]
    job = MiningJob(
        inputs[0],
        inputs[1],
        out,
        folder / "state",
        what["score"],
        options["k"],
        _threshold(calibration, options, what),
        block_texts=_BLOCK_TEXTS,
    )
    reporter = _Reporter(spec, job.state, folder, report)
    with threads(1):
        mined = mine(
            job,
            partial(_embed, context, loop, cancel, what["granularity"]),
            {"bundle": context.bundle, "granularity": options["granularity"]},
            probabilities=lambda scores: calibration.probabilities(scores, **what),
            report=reporter.take,
        )
    lines = sum(counts["lines"] for counts in mined.counts)
    headers = sum(source.format == "tsv" for source in sources)
    errors = _write_errors(out.with_name("errors.jsonl"), mined, folder)
    return Aligned(mined, lines - headers, errors)


def _threshold(
    calibration: Calibration, options: dict[str, Any], what: dict[str, Any]
) -> float | None:
    if options["threshold"] is not None:
        return float(options["threshold"])
    wanted = options["min_probability"]
    found = calibration.threshold(0.5 if wanted is None else wanted, **what)
    if found is None and wanted is not None:
        raise InvalidInput(
            f"the bundle is not calibrated for {what['score']} of {what['granularity']} texts, so "
            "that nothing is known of probabilities; give threshold",
            "min_probability",
        )
    return found


def _embed(
    context: Context,
    loop: asyncio.AbstractEventLoop,
    cancel: Cancel,
    granularity: Granularity,
    texts: Sequence[str],
) -> Floats:
    """Unit rows of texts, (texts, dimension), from the engine on the event loop."""
    units = [Unit(text, "line", granularity) for text in texts]

    async def encode() -> list[Floats]:
        vectors = []
        for start in range(0, len(units), _PORTION):
            cancel.check()
            some = units[start : start + _PORTION]
            vectors.append((await patiently(context.engine, some, Options())).vectors)
        return vectors

    return np.concatenate(asyncio.run_coroutine_threadsafe(encode(), loop).result())


def _as_lines(source: Source, path: Path, context: Context) -> Path:
    """The input as lines of text: itself, or written to `path` with the row's number as the line.

    Bad rows become blank lines, and are told in a file beside it.
    """
    if source.format == "lines":
        return source.path
    if path.exists():
        return path
    limit = context.settings.max_item_characters
    with _opened(source) as file, whole_file(path) as lines, whole_file(_bad(path)) as bad:
        rows = read_rows(
            file, source.format, context.line_bytes, lambda _: None, source.columns.text
        )
        if source.format == "tsv":
            lines.write(b"\n")  # the header's line, so that numbers are those of the file
        for row in rows:
            text = None if isinstance(row, BadRow) else row.values.get(source.columns.text)
            reason = (
                row.reason
                if isinstance(row, BadRow)
                else fault_of(text, source.columns.text, limit)
            )
            if reason is None:
                lines.write(" ".join(str(text).split()).encode() + b"\n")
            else:
                lines.write(b"\n")
                bad.write(f"{row.number}\t{reason}\n".encode())
    return path


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    if source.format == "parquet":
        with source.path.open("rb") as file:
            yield file
    else:
        with opened(source.path) as (file, _):
            yield file


def _bad(path: Path) -> Path:
    return path.with_suffix(".bad.tsv")


class _Reporter:
    """Tells how far a run is, now and then, and stops it where too much is bad."""

    def __init__(self, spec: Spec, state: Path, folder: Path, report: Report) -> None:
        self._spec, self._state, self._folder, self._report = spec, state, folder, report
        self._stage: Stage | None = None
        self._told_s = 0.0

    def take(self, stage: Stage, done: int, total: int) -> None:
        now = time.monotonic()
        if stage is self._stage and done < total and now - self._told_s < _REPORT_S:
            return
        if stage is not self._stage and stage not in _READING:
            self._check_errors()
        self._stage, self._told_s = stage, now
        self._report(store.Stage(str(stage), done, total))

    def _check_errors(self) -> None:
        limit = self._spec.max_errors
        if limit is None:
            return
        count = 0
        for place, side in enumerate(SIDES):
            read = side_folder(self._state, place) / "read.json"
            count += int(json.loads(read.read_text(encoding="utf-8"))["counts"]["not_text"])
            count += len(_lines(_bad(self._folder / f"{side}.txt")))
        if count > limit:
            raise too_many(count, limit)


def too_many(count: int, limit: int) -> TooManyErrors:
    """What ends a job with more bad rows than it may have."""
    return TooManyErrors(
        f"{count} rows are bad, and max_errors is {limit}; GET …/errors names them: mend the "
        "input, or allow more",
        "max_errors",
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbers of lines with the reasons why they are bad."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(int(number), reason) for number, _, reason in (line.partition("\t") for line in lines)]


def _write_errors(path: Path, mined: Mined, folder: Path) -> int:
    count = 0
    with whole_file(path) as file:
        for side, own in zip(SIDES, mined.errors, strict=True):
            for number, reason in sorted(_lines(_bad(folder / f"{side}.txt")) + _lines(own)):
                file.write(error_line(BadRow(number, reason), side))
                count += 1
    return count
