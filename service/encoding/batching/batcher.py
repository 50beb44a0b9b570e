"""One queue for the rows of all requests, and the threads that run the model over it.

The event loop queues rows and hands out vectors; a model thread forms a batch, runs it, and posts
the outcome back while it goes on to the next. Where the queue is long the event loop also forms the
next batch while the model runs, so that the model finds it padded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

import numpy as np

from service.encoding.batching.counters import QueueState
from service.encoding.batching.lane import Lane, Request
from service.encoding.batching.repeats import RepeatCache
from service.encoding.batching.schedule import Priority, Schedule
from service.encoding.batching.work import Answer, Formed
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row
from service.errors import InferenceFailed, NotReady

logger = logging.getLogger(__name__)

# Rows of one request that are queued before the event loop turns to something else; a request that
# is one batch by itself has no more.
MAX_WHOLE_ROWS = _ADD_ROWS = 256

# How long a closing queue waits for a batch that nobody wants.
_JOIN_S = 5.0

# How long a caller must have been the only one before its requests run where they come in: whoever
# sends a next request within this time, others at the same time, is better served by one batch.
LONE_S = 0.1

# Makes rows into inputs of the model, and returns what runs it on them: vectors (rows, dimension).
Load = Callable[[Sequence[Row]], Callable[[], Vectors]]


class Batcher:
    """Answers every caller of `submit`, in batches that a `Schedule` makes.

    A submitted request ends in its vectors, in InferenceFailed for the requests of a batch that
    failed, in NotReady where the queue stops first, or in its caller's cancellation, after which
    its rows are dropped before they reach the model. `load` and what it returns must be safe to
    call from several threads if `threads` is more than one. Must be made inside a running event
    loop, and used on it alone.

    With `beside`, which loads batches as `load` does for a model that waits for no other, one more
    thread runs rows of small requests while the others run batches of less urgent ones: at most
    `beside_tokens` at a time.

    A request of at most `lone_tokens` tokens, padding included, runs on the event loop itself where
    no other small one has come for LONE_S: to hand a batch to a thread and back costs as much as a
    short text takes, and there is nobody whom the loop keeps waiting for long. It runs by `load`
    where nothing else does, and by `beside` where less urgent batches run.
    """

    def __init__(
        self,
        load: Load,
        *,
        batch_tokens: int,
        shared_batch_tokens: int | None = None,
        threads: int = 1,
        cache_bytes: int = 0,
        lone_tokens: int = 0,
        beside: Load | None = None,
        beside_tokens: int = 128,
        measured: Callable[[int, float], None] = lambda tokens, seconds: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._load = load
        self._beside = beside
        self._measured = measured
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._cache = RepeatCache(cache_bytes)
        # What was computed before is looked up where rows are queued.
        self._lone_tokens = 0 if cache_bytes else lone_tokens
        self._arriving = 0
        self._in_company = float("-inf")
        self._answers: dict[Request, Answer] = {}
        self._answered = asyncio.Event()
        self._closing = False
        self._state = QueueState()
        # What follows belongs to all threads and is used under the lock.
        self._lock = threading.Lock()
        self._schedule = Schedule(batch_tokens, shared_batch_tokens or batch_tokens, threads)
        self._prefetched: Formed | None = None
        self._stopped = False
        # Threads that sleep; one item in `_wake` for each that was told not to.
        self._idle = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._beside_tokens = beside_tokens
        self._beside_idle = False
        self._wake_beside: SimpleQueue[None] = SimpleQueue()
        works: dict[str, Callable[[], None]] = {
            f"model-{number}": partial(self._work, self._next, load) for number in range(threads)
        }
        if beside is not None:
            works["model-beside"] = partial(self._work, self._next_beside, beside)
        # Daemons: a model that hangs does not keep the process from ending.
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether submitted rows are taken and run."""
        return not (self._closing or self._stopped)

    def state(self) -> QueueState:
        """The queue now, and its totals so far."""
        with self._lock:
            return replace(
                self._state,
                queued_rows=self._schedule.rows,
                queued_tokens=self._schedule.tokens,
                joined_rows=self._schedule.joined,
                dropped_rows=self._schedule.dropped,
                cached_rows=self._cache.hits,
            )

    async def submit(
        self,
        rows: Sequence[Row],
        priority: Priority = Priority.INTERACTIVE,
        *,
        whole: bool = False,
    ) -> Vectors:
        """The vectors of `rows`, of which there is at least one: (rows, dimension), in order.

        With `whole`, the rows, at most MAX_WHOLE_ROWS, are one batch by themselves, so that their
        vectors depend on nothing that others send, to the last bit.
        """
        if not self.running:
            raise NotReady("the service is stopping; send the request to another instance")
        tokens = len(rows) * max(map(len, rows))
        if tokens <= self._lone_tokens and not whole and priority is Priority.INTERACTIVE:
            if load := await self._load_here(tokens):
                return self._run_here(rows, load)
            if not self.running:
                raise NotReady("the service stopped before this request was done")
        answer = Answer(self._loop.create_future(), len(rows))
        request = Request(self._schedule.lane_of(rows, priority), whole)
        self._answers[request] = answer
        try:
            for start in range(0, len(rows), _ADD_ROWS):
                if start:
                    await asyncio.sleep(0)
                if answer.future.done():  # it failed already
                    break
                self._add(request, answer, start, rows[start : start + _ADD_ROWS])
            return await answer.future
        finally:
            with self._lock:
                self._schedule.end(request)
            del self._answers[request]
            if not self._answers:
                self._answered.set()

    async def _load_here(self, tokens: int) -> Load | None:
        """How a request of so many tokens is run on the event loop; None where it is not.

        It is where no other small request waits, came lately, or comes in at this very moment.
        """
        self._arriving += 1
        try:
            self._look_for_company()
            # What else has come in by now is read before this goes on.
            await asyncio.sleep(0)
            self._look_for_company()
            if self._clock() - self._in_company < LONE_S or not self.running:
                return None
            with self._lock:
                # A batch may still run for a caller that has left.
                if self._schedule.idle:
                    return self._load
                urgent = self._schedule.is_busy_with(Lane.SINGLE)
            return None if urgent or tokens > self._beside_tokens else self._beside
        finally:
            self._arriving -= 1

    def _look_for_company(self) -> None:
        others = any(request.lane is Lane.SINGLE for request in self._answers)
        if others or self._arriving > 1:
            self._in_company = self._clock()

    def _run_here(self, rows: Sequence[Row], load: Load) -> Vectors:
        """The vectors of a request that runs on the event loop: `_run` and `_deliver` in one."""
        waits = [0.0] * len(rows)
        started = self._clock()
        try:
            vectors = _checked(load(rows)(), len(rows))
        except Exception as error:
            logger.exception("batch_failed rows=%d", len(rows))
            self._count(rows, waits, self._clock() - started, failed=True)
            raise _failure(error) from error
        seconds = self._clock() - started
        self._count(rows, waits, seconds, failed=False)
        self._measured(sum(map(len, rows)), seconds)
        return vectors

    async def close(self) -> None:
        """Answer everything submitted, then stop; cancelled, stop at once."""
        self._closing = True
        try:
            while self._answers and not self._stopped:
                self._answered.clear()
                await self._answered.wait()
        finally:
            self._stop()
        # A batch that nobody waits for may still run; let it end before the process does.
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _add(self, request: Request, answer: Answer, start: int, rows: Sequence[Row]) -> None:
        now = self._clock()
        with self._lock:
            for place, row in enumerate(rows, start):
                vector = None if request.whole else self._cache.get(row)
                if vector is None:
                    self._schedule.add(request, place, row, now)
                else:
                    answer.put([place], vector[np.newaxis])
            self._wake_one()

    def _wake_one(self) -> None:
        """Wake a thread that sleeps and has something to do; under the lock."""
        if self._idle:
            self._idle -= 1
            self._wake.put(None)
        elif self._beside_idle and (self._schedule.wants_company or self._stopped):
            self._beside_idle = False
            self._wake_beside.put(None)

    def _stop(self) -> None:
        """Let the threads end after the batch that they run, and leave no caller waiting."""
        with self._lock:
            self._stopped = True
            while self._idle or self._beside_idle:
                self._wake_one()
        for answer in self._answers.values():
            answer.fail(NotReady("the service stopped before this request was done"))
        self._answered.set()

    # On a model thread.

    def _work(self, following: Callable[[], Formed | None], load: Load) -> None:
        try:
            while (formed := following()) is not None:
                self._run(formed, load)
        except BaseException:
            logger.exception("model_thread_ended")
            self._post(self._stop)
            raise

    def _next(self) -> Formed | None:
        """Wait for a batch; None once the queue has stopped."""
        while True:
            with self._lock:
                if self._stopped:
                    return None
                formed = self._pick()
                if formed is None:
                    self._idle += 1
                elif self._schedule.rows:
                    self._wake_one()
            if formed is not None:
                return formed
            self._wake.get()

    def _next_beside(self) -> Formed | None:
        """Wait for small requests beside a batch of others; None once the queue has stopped."""
        while True:
            with self._lock:
                if self._stopped:
                    return None
                if entries := self._schedule.take_beside(self._beside_tokens):
                    return Formed(entries)
                self._beside_idle = True
            self._wake_beside.get()

    def _pick(self) -> Formed | None:
        formed = self._prefetched
        if formed is None:
            entries = self._schedule.take(self._clock())
            return Formed(entries) if entries else None
        if not formed.passed and formed.lane is not Lane.SINGLE:
            formed.passed = True
            if urgent := self._schedule.take_single(self._clock()):
                return Formed(urgent)
        self._prefetched = None
        return self._still_wanted(formed)

    def _still_wanted(self, formed: Formed) -> Formed | None:
        """`formed` without the rows whose callers have left since it was formed."""
        unwanted = [entry for entry in formed.entries if not entry.waiters]
        if not unwanted:
            return formed
        self._schedule.finish(unwanted)
        self._schedule.dropped += len(unwanted)
        wanted = [entry for entry in formed.entries if entry.waiters]
        if wanted:
            return Formed(wanted)
        self._schedule.done(formed.lane)
        return self._pick()

    def _run(self, formed: Formed, load: Load) -> None:
        started = self._clock()
        try:
            vectors = _checked((formed.run or load(formed.rows))(), len(formed.entries))
        except Exception as error:
            logger.exception("batch_failed rows=%d", len(formed.entries))
            with self._lock:
                self._schedule.done(formed.lane)
                # Now, so that no more of their rows reach the model.
                failed = self._schedule.fail(formed.entries)
            self._post(self._fail, formed, failed, error, self._clock() - started, started)
        else:
            with self._lock:
                self._schedule.done(formed.lane)
            self._post(self._deliver, formed, vectors, self._clock() - started, started)

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        """Call `function` on the event loop; where that has ended, nobody waits any more."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            self._stopped = True

    # On the event loop, while the model runs the next batch.

    def _deliver(self, formed: Formed, vectors: Vectors, seconds: float, started: float) -> None:
        with self._lock:
            self._schedule.finish(formed.entries)
        self._count(formed.rows, _waits(formed, started), seconds, failed=False)
        self._measured(sum(entry.length for entry in formed.entries), seconds)
        self._hand_out(formed, vectors)
        self._prefetch()

    def _hand_out(self, formed: Formed, vectors: Vectors) -> None:
        shares: dict[Request, list[tuple[int, int]]] = {}
        for number, entry in enumerate(formed.entries):
            if not entry.row.states:  # many times as large, and rarely asked for twice
                self._cache.put(entry.row, vectors[number])
            for request, place in entry.waiters:
                shares.setdefault(request, []).append((place, number))
        for request, share in shares.items():
            places, numbers = zip(*share, strict=True)
            self._answers[request].put(list(places), vectors[list(numbers)])

    def _fail(
        self,
        formed: Formed,
        requests: set[Request],
        error: Exception,
        seconds: float,
        started: float,
    ) -> None:
        self._count(formed.rows, _waits(formed, started), seconds, failed=True)
        # Those that have left since are not there any more.
        for answer in filter(None, map(self._answers.get, requests)):
            answer.fail(_failure(error))

    def _prefetch(self) -> None:
        with self._lock:
            if self._prefetched is not None or self._stopped:
                return
            entries = self._schedule.take_full(self._clock())
        if not entries:
            return
        formed = Formed(entries)
        # What is wrong with these rows the model thread will meet again, and report.
        with contextlib.suppress(Exception):
            formed.run = self._load(formed.rows)
        with self._lock:
            self._prefetched = formed
            self._wake_one()

    def _count(
        self, rows: Sequence[Row], waits: Sequence[float], seconds: float, *, failed: bool
    ) -> None:
        self._state = self._state.after([*map(len, rows)], waits, seconds, failed=failed)


def _waits(formed: Formed, started: float) -> list[float]:
    """The seconds that each row of a batch was queued for."""
    return [started - entry.queued_at for entry in formed.entries]


def _checked(vectors: Vectors, rows: int) -> Vectors:
    if len(vectors) != rows:
        raise InferenceFailed(f"the model gave {len(vectors)} vectors for {rows} rows")
    return vectors


def _failure(error: Exception) -> InferenceFailed:
    """A new one for each request: an error that is raised twice collects both tracebacks."""
    failure = InferenceFailed(
        "the model failed on the batch that held this request; other requests are not "
        "affected: send it again, and report it with its request id if it fails twice"
    )
    failure.__cause__ = error
    return failure
