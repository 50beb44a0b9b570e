"""Runs the jobs of a state folder beside a server's requests, a few at a time, oldest first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from service.errors import StorageUnavailable
from service.jobs.context import Context
from service.jobs.folder import Jobs, RunnerLock
from service.jobs.run import Worker, finish_cancelled, run
from service.jobs.store import Job, State

logger = logging.getLogger(__name__)

# How often the store is looked at for jobs that other processes took or cancelled.
_BUSY_S, _IDLE_S = 0.2, 1.0
_TIDY_S = 60.0


class Runner:
    """Looks for jobs from `start` to `close`, inside a running event loop.

    Where several processes share a state folder, one runs the jobs; if it dies, another goes on.
    """

    def __init__(self, jobs: Jobs, context: Callable[[], Context]) -> None:
        at_once = jobs.settings.jobs_at_once
        self._jobs = jobs
        self._at_once = at_once
        # A job computes in one thread and reads ahead in another; more for the ends of jobs.
        threads = ThreadPoolExecutor(2 * at_once + 2, thread_name_prefix="jobs")
        self._threads = threads
        self._worker = Worker(jobs, context, threads)
        self._lock: RunnerLock | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._finishing: set[str] = set()
        self._wake = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._tidied = float("-inf")

    def start(self) -> None:
        """Look for jobs from now on."""
        self._watch = asyncio.create_task(self._look())

    def wake(self) -> None:
        """Look at once: a job has come or is to be cancelled."""
        self._wake.set()

    async def close(self) -> None:
        """Stop what runs, which goes on when a runner is started again."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        tasks = dict(self._running)
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
        if self._lock is not None:
            for id_ in tasks:
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(self._put_back, id_)
            self._lock.release()
        await asyncio.to_thread(self._threads.shutdown)
        self._jobs.close()

    def _put_back(self, id_: str) -> None:
        self._jobs.store.move(id_, (State.RUNNING, State.FINALIZING), State.QUEUED)

    async def _look(self) -> None:
        while True:
            try:
                busy = await self._take_turn()
            except StorageUnavailable as error:
                logger.warning("jobs_unavailable reason=%r", error.message)
                busy = False
            except Exception:
                logger.exception("jobs_look_failed")
                busy = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BUSY_S if busy else _IDLE_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _take_turn(self) -> bool:
        """Start and stop what is due; whether anything runs."""
        if not await asyncio.to_thread(self._holds):
            return False
        if time.monotonic() - self._tidied > _TIDY_S:
            self._tidied = time.monotonic()
            await asyncio.to_thread(self._jobs.tidy)
        for job in await asyncio.to_thread(self._jobs.store.active):
            task = self._running.get(job.id)
            if job.state is State.CANCELLING:
                if task is None:
                    self._spawn(job, finish_cancelled)
                    self._finishing.add(job.id)
                elif job.id not in self._finishing:
                    task.cancel()
            elif task is None and len(self._running) - len(self._finishing) < self._at_once:
                self._spawn(job, run)
        return bool(self._running)

    def _holds(self) -> bool:
        """Whether this process runs the jobs, which it takes on where nobody does."""
        if self._lock is not None:
            return True
        if not self._jobs.exist:
            return False
        lock = RunnerLock(self._jobs.state)
        if not lock.try_take():
            lock.release()
            return False
        self._lock = lock
        return True

    def _spawn(self, job: Job, work: Callable[..., object]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work(self._worker, job))  # type: ignore[arg-type]
        self._running[job.id] = task
        task.add_done_callback(lambda done: self._ended(job.id, done))

    def _ended(self, id_: str, task: asyncio.Task[None]) -> None:
        del self._running[id_]
        self._finishing.discard(id_)
        if not task.cancelled() and (error := task.exception()):
            logger.error("job_task_failed id=%s", id_, exc_info=error)
        self._wake.set()
