"""One job from its input to its results, going on from whatever an earlier process left."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from service.errors import InferenceFailed, NotReady, PolygrainError
from service.jobs import shards
from service.jobs.context import Context
from service.jobs.folder import ERRORS, Jobs
from service.jobs.kinds import compute, shape_of
from service.jobs.mining import Aligned, TooManyErrors, align, too_many
from service.jobs.plan import Plan, Shard, ShardReader, make_plan
from service.jobs.results import PIECES, Outcome, assemble, described, join
from service.jobs.specs import Kind
from service.jobs.store import Job, Result, Stage, State
from service.retrieval.database import storage_errors
from service.retrieval.values import Cancel
from service.rows import BadRow, Row

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Columns of the store's table of jobs, with their new values.
_Changes = dict[str, Any]

# A batch that fails again and again fails its job.
_ATTEMPTS = 3

# Over how long the speed of a job is measured.
_RATE_S = 30.0

_PLAN, _SHARDS = "plan.json", "shards"


class BundleChanged(Exception):
    """Another bundle is served than the one that a job began with."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What runs jobs: where they lie, what computes them, and threads for all that is no model."""

    jobs: Jobs
    context: Callable[[], Context]
    threads: Executor

    async def off_loop(self, function: Callable[[Cancel], _Result]) -> _Result:
        """What `function` makes in a thread; cancelled, its end is waited for."""
        cancel = Cancel()
        future = asyncio.get_running_loop().run_in_executor(self.threads, function, cancel)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            await asyncio.gather(future, return_exceptions=True)
            raise


async def run(worker: Worker, job: Job) -> None:
    """Do a job to its end: completed, or failed with the reason. Cancelled, it stands as it is.

    What is done is not done again: a job that was stopped anywhere goes on, and comes to the same.
    """
    store = worker.jobs.store
    begun = (State.QUEUED, State.RUNNING, State.FINALIZING)
    try:
        while True:
            try:
                await _run_with_one_bundle(worker, job)
                return
            except BundleChanged:
                logger.info("job_begins_anew id=%s reason=bundle_changed", job.id)
    except PolygrainError as error:
        logger.info("job_failed id=%s reason=%r", job.id, error.message)
        changes = {"error": error.message, **await _partial(worker, job)}
        await worker.off_loop(lambda _: store.move(job.id, begun, State.FAILED, **changes))
    except Exception:
        logger.exception("job_failed id=%s", job.id)
        message = f"a fault of the service; its log tells more of job {job.id}"
        await worker.off_loop(lambda _: store.move(job.id, begun, State.FAILED, error=message))


async def finish_cancelled(worker: Worker, job: Job) -> None:
    """Keep what a job has done, from its first row on, and end it."""
    changes = await _partial(worker, job)
    store = worker.jobs.store
    await worker.off_loop(
        lambda _: store.move(job.id, (State.CANCELLING,), State.CANCELLED, **changes)
    )
    await worker.off_loop(lambda _: worker.jobs.clear(job.id))
    logger.info("job_cancelled id=%s", job.id)


async def _run_with_one_bundle(worker: Worker, job: Job) -> None:
    context = worker.context()
    folder, store = worker.jobs.folder(job.id), worker.jobs.store

    def begin(_: Cancel) -> bool:
        if store.get(job.id).bundle not in (None, context.bundle):
            # What another bundle made does not go with what this one will.
            with storage_errors(folder):
                shutil.rmtree(folder, ignore_errors=True)
        with storage_errors(folder):
            folder.mkdir(exist_ok=True)
        since = (State.QUEUED, State.RUNNING, State.FINALIZING)
        return store.move(job.id, since, State.RUNNING, bundle=context.bundle)

    if not await worker.off_loop(begin):
        return
    logger.info("job_runs id=%s kind=%s", job.id, job.spec.kind)
    changes = await (
        _align(worker, context, job)
        if job.spec.kind is Kind.ALIGN
        else _shards(worker, context, job)
    )
    if changes is not None:
        await worker.off_loop(
            lambda _: store.move(job.id, (State.FINALIZING,), State.COMPLETED, **changes)
        )
        await worker.off_loop(lambda _: worker.jobs.clear(job.id))
        logger.info("job_completed id=%s", job.id)


async def _shards(worker: Worker, context: Context, job: Job) -> _Changes | None:
    """Do all shards that are not done, then put them together; None where it is being cancelled."""
    store, folder = worker.jobs.store, worker.jobs.folder(job.id)
    source = (await worker.off_loop(lambda _: worker.jobs.sources(job.spec)))[0]
    progress = _Progress(worker, job)

    def planned(cancel: Cancel) -> Plan:
        def report(done: int, total: int) -> None:
            cancel.check()
            progress.stage(Stage("reading", done, total))

        if not (folder / _PLAN).exists():
            make_plan(source, context.line_bytes, report).write(folder / _PLAN)
        with storage_errors(folder):
            (folder / _SHARDS).mkdir(exist_ok=True)
        return Plan.read(folder / _PLAN)

    plan = await worker.off_loop(planned)
    done = await worker.off_loop(lambda _: shards.done(folder / _SHARDS))
    await worker.off_loop(lambda _: progress.start(plan.rows, done.values()))
    with ShardReader(source, plan) as reader:
        missing = [shard for shard in plan.shards if shard.number not in done]
        ahead: asyncio.Task[list[Row | BadRow]] | None = None
        try:
            for place, shard in enumerate(missing):
                progress.check_errors()
                rows = await (ahead or _read(worker, reader, shard))
                ahead = None
                if place + 1 < len(missing):
                    ahead = asyncio.create_task(_read(worker, reader, missing[place + 1]))
                outcome = await _computed(worker, context, job, rows)
                await worker.off_loop(partial(_publish, progress, folder, job, shard, outcome))
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
    progress.check_errors()
    since = (State.RUNNING, State.FINALIZING)
    if not await worker.off_loop(lambda _: store.move(job.id, since, State.FINALIZING)):
        return None
    return await worker.off_loop(lambda _: _put_together(worker, context, job, folder))


async def _read(worker: Worker, reader: ShardReader, shard: Shard) -> list[Row | BadRow]:
    return await worker.off_loop(lambda _: reader.read(shard))


async def _computed(
    worker: Worker, context: Context, job: Job, rows: Sequence[Row | BadRow]
) -> Outcome:
    failures = 0
    while True:
        try:
            return await compute(job.spec, rows, context)
        except NotReady:
            # The engine ends: with the service, or because another bundle has taken its place.
            await asyncio.sleep(0.1)
            if worker.context().bundle != context.bundle:
                raise BundleChanged from None
            context = worker.context()
        except InferenceFailed:
            failures += 1
            if failures == _ATTEMPTS:
                raise


def _publish(
    progress: _Progress, folder: Path, job: Job, shard: Shard, outcome: Outcome, _: Cancel
) -> None:
    piece = PIECES[job.spec.output](outcome.table)
    with storage_errors(folder):
        counts = shards.publish(folder / _SHARDS, shard.number, piece, outcome.bad, shard.rows)
    progress.add(counts)


def _put_together(worker: Worker, context: Context, job: Job, folder: Path) -> _Changes:
    """Write the results and errors of the shards that are done, up to the first that is not."""
    done = shards.done(folder / _SHARDS)
    numbers = [number for place, number in enumerate(done) if place == number]
    counts = [done[number] for number in numbers]
    completed, failed = sum(c.completed for c in counts), sum(c.failed for c in counts)
    with storage_errors(folder):
        pieces = shards.paths(folder / _SHARDS, numbers, shards.OUTPUT)
        shape = shape_of(job.spec, context.manifest)
        results = assemble(
            folder / f"results.{job.spec.output}", job.spec.output, pieces, shape, completed
        )
        errors = join(
            folder / ERRORS, shards.paths(folder / _SHARDS, numbers, shards.ERRORS), failed
        )
    return {"completed": completed, "failed": failed, "result": _result_json(results, errors, {})}


def _result_json(results: Result, errors: Result, summary: dict[str, Any]) -> str:
    return json.dumps({"results": asdict(results), "errors": asdict(errors), "summary": summary})


async def _partial(worker: Worker, job: Job) -> _Changes:
    """What a job that ends early has done; nothing of an alignment, whose pairs come last."""
    folder, context = worker.jobs.folder(job.id), worker.context()
    if job.spec.kind is Kind.ALIGN or not (folder / _SHARDS).is_dir():
        return {}
    try:
        return await worker.off_loop(lambda _: _put_together(worker, context, job, folder))
    except PolygrainError as error:  # such as a full disk, which the job then fails by
        logger.warning("job_results_lost id=%s reason=%r", job.id, error.message)
        return {}


async def _align(worker: Worker, context: Context, job: Job) -> _Changes | None:
    store, folder = worker.jobs.store, worker.jobs.folder(job.id)
    files = await worker.off_loop(lambda _: worker.jobs.sources(job.spec))
    out = folder / f"results.{job.spec.output}"
    progress = _Progress(worker, job)
    loop = asyncio.get_running_loop()

    def work(cancel: Cancel) -> Aligned:
        def report(stage: Stage) -> None:
            cancel.check()
            progress.stage(stage)

        with storage_errors(folder):
            return align(job.spec, files, folder, out, context, loop, cancel, report)

    while True:
        try:
            aligned = await worker.off_loop(work)
            break
        except NotReady:
            await asyncio.sleep(0.1)
            if worker.context().bundle != context.bundle:
                raise BundleChanged from None
            context = worker.context()

    def ended(_: Cancel) -> _Changes | None:
        counts = {"total": aligned.rows, "failed": aligned.errors}
        counts["completed"] = aligned.rows - aligned.errors
        if not store.move(job.id, (State.RUNNING,), State.FINALIZING, **counts):
            return None
        pairs = described(out, aligned.mined.pairs)
        errors = described(folder / ERRORS, aligned.errors)
        return {"result": _result_json(pairs, errors, aligned.mined.as_json())}

    return await worker.off_loop(ended)


class _Progress:
    """How far a job is, told to the store; what it counts is on disk."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._store = worker.jobs.store
        self._job = job
        self._total = self._completed = self._failed = 0
        self._marks: deque[tuple[float, int]] = deque()

    def stage(self, stage: Stage) -> None:
        """Tell the stage."""
        self._store.note(self._job.id, stage=stage)

    def start(self, total: int, done: Any) -> None:  # noqa: ANN401
        """Begin with the shards that are done."""
        self._total = total
        for counts in done:
            self._completed += counts.completed
            self._failed += counts.failed
        self._tell()

    def add(self, counts: shards.Counts) -> None:
        """Count a shard that is published."""
        self._completed += counts.completed
        self._failed += counts.failed
        self._tell()

    def check_errors(self) -> None:
        """Raise TooManyErrors where more rows are bad than the job may have."""
        limit = self._job.spec.max_errors
        if limit is not None and self._failed > limit:
            raise too_many(self._failed, limit)

    def _tell(self) -> None:
        now, done = time.monotonic(), self._completed + self._failed
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_S:
            self._marks.popleft()
        then, before = self._marks[0]
        self._store.note(
            self._job.id,
            total=self._total,
            completed=self._completed,
            failed=self._failed,
            rows_per_s=(done - before) / (now - then) if now > then else None,
            stage=Stage(_WORD[self._job.spec.kind], done, self._total),
        )


_WORD = {Kind.EMBED: "embedding", Kind.INDEX: "indexing", Kind.RETRIEVE: "retrieving"}

__all__ = ["TooManyErrors", "Worker", "finish_cancelled", "run"]
