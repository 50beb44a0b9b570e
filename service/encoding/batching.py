"""Which rows the model sees together, and the one queue that all requests share.

`plan_batches` and `TokenLedger` decide and are pure; `Batcher` is the thin loop around them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from service.encoding.session import Vectors
from service.encoding.tokenizer import Row
from service.errors import InferenceFailed, NotReady, Overloaded

logger = logging.getLogger(__name__)

# The part of a batch's budget that padding may take. On two CPU cores a batch costs, besides its
# tokens, about as much as 40 tokens do: to pad more than that in order to save a batch is a loss.
PADDING_SHARE = 1 / 32

# The oldest rows that one plan looks at; bounds the work that the event loop does per batch.
PLAN_ROWS = 4_096

# How much of the throughput estimate the newest batch makes.
_THROUGHPUT_WEIGHT = 0.2


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split rows into batches: every index of `lengths` in exactly one, shortest rows first.

    Rows times the longest row of a batch stays within `batch_tokens` (a single longer row goes
    alone), and its padding within PADDING_SHARE of that, because rows of like length go together.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    real_tokens = 0
    for index in np.argsort(np.asarray(lengths), kind="stable").tolist():
        length = lengths[index]
        padded = (len(batch) + 1) * length
        padding = padded - real_tokens - length
        if batch and (padded > batch_tokens or padding > batch_tokens * PADDING_SHARE):
            batches.append(batch)
            batch, real_tokens = [], 0
        batch.append(index)
        real_tokens += length
    if batch:
        batches.append(batch)
    return batches


def next_batch(lengths: Sequence[int], batch_tokens: int) -> list[int]:
    """The batch to run now out of rows in order of arrival: the one that holds the oldest row.

    So the row in place p runs within p + 1 batches, however many newcomers suit each other better.
    """
    plan = plan_batches(lengths[:PLAN_ROWS], batch_tokens)
    return next(batch for batch in plan if 0 in batch)


class TokenLedger:
    """Counts the tokens of accepted requests, and refuses what goes over `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        # Tokens a second through the model; None until a batch has been measured.
        self.throughput: float | None = None

    @contextmanager
    def hold(self, tokens: int) -> Iterator[Callable[[int], None]]:
        """Hold `tokens` until the block ends, however it ends; yields a function to correct them.

        Raises Overloaded, at first or in a correction, where the limit would be passed.
        """
        held = 0

        def correct(tokens: int) -> None:
            nonlocal held
            if self.held - held + tokens > self.limit:
                raise self._overloaded(tokens)
            self.held += tokens - held
            held = tokens

        correct(tokens)
        try:
            yield correct
        finally:
            self.held -= held

    def measured(self, tokens: int, seconds: float) -> None:
        """Take a finished batch into the throughput."""
        now = tokens / max(seconds, 1e-6)
        before = now if self.throughput is None else self.throughput
        self.throughput = before + _THROUGHPUT_WEIGHT * (now - before)

    def retry_after_s(self) -> int:
        """Whole seconds, at least one, until what is held now should be done."""
        if self.throughput is None:
            return 1
        return max(1, math.ceil(self.held / self.throughput))

    def _overloaded(self, tokens: int) -> Overloaded:
        wait_s = self.retry_after_s()
        return Overloaded(
            f"the queue holds {self.held} of at most {self.limit} tokens and this request needs "
            f"about {tokens}; send it again in {wait_s} s",
            retry_after_s=wait_s,
        )


@dataclass(slots=True, eq=False)
class _Job:
    """The rows of one request, and the vectors that have come back so far."""

    rows: Sequence[Row]
    answer: asyncio.Future[Vectors]
    vectors: list[Vectors | None] = field(init=False)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = [None] * len(self.rows)
        self.missing = len(self.rows)

    def put(self, index: int, vector: Vectors) -> None:
        self.vectors[index] = vector
        self.missing -= 1
        if not self.missing and not self.answer.done():
            self.answer.set_result(np.stack([v for v in self.vectors if v is not None]))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Pending:
    job: _Job
    index: int

    def __len__(self) -> int:
        return len(self.job.rows[self.index])


class Batcher:
    """One queue for the rows of all requests, and one thread that runs the model over it.

    Every submitted request ends: in its vectors, in InferenceFailed for the requests of a batch
    that failed, in NotReady where the queue stops first, or in its caller's cancellation, after
    which its rows are dropped before they reach the model.
    """

    def __init__(
        self,
        infer: Callable[[Sequence[Row]], Vectors],
        *,
        batch_tokens: int,
        measured: Callable[[int, float], None] = lambda tokens, seconds: None,
    ) -> None:
        self._infer = infer
        self._batch_tokens = batch_tokens
        self._measured = measured
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task = asyncio.create_task(self._run(), name="batcher")

    @property
    def running(self) -> bool:
        """Whether submitted rows are taken and run."""
        return not (self._closing or self._task.done())

    async def submit(self, rows: Sequence[Row]) -> Vectors:
        """The vectors of `rows`, (rows, dimension), in their order."""
        if not self.running:
            raise NotReady("the service is stopping; send the request to another instance")
        job = _Job(rows, asyncio.get_running_loop().create_future())
        self._pending.extend(_Pending(job, index) for index in range(len(rows)))
        self._wake.set()
        # A cancelled caller cancels this future, and `_drop_ended` sees that.
        return await job.answer

    async def close(self) -> None:
        """Answer everything submitted, then stop."""
        self._closing = True
        self._wake.set()
        try:
            await self._task
        finally:
            self._model_thread.shutdown(wait=False)

    async def _run(self) -> None:
        try:
            while await self._has_work():
                await self._complete(self._take())
        finally:
            self._closing = True
            for pending in self._pending:
                pending.job.fail(NotReady("the service stopped before this request was done"))
            self._pending.clear()

    async def _has_work(self) -> bool:
        """Wait for pending rows; False once the queue is closing and empty."""
        while True:
            self._drop_ended()
            if self._pending:
                return True
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()

    def _drop_ended(self) -> None:
        """Forget rows whose request was cancelled or has failed in another batch."""
        self._pending = [p for p in self._pending if not p.job.answer.done()]

    def _take(self) -> list[_Pending]:
        taken = next_batch([len(p) for p in self._pending[:PLAN_ROWS]], self._batch_tokens)
        batch = [self._pending[index] for index in taken]
        for index in sorted(taken, reverse=True):
            del self._pending[index]
        return batch

    async def _complete(self, batch: list[_Pending]) -> None:
        rows = [p.job.rows[p.index] for p in batch]
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._model_thread, self._infer, rows)
            if len(vectors) != len(rows):
                raise InferenceFailed(f"the model gave {len(vectors)} vectors for {len(rows)} rows")
            for pending, vector in zip(batch, vectors, strict=True):
                pending.job.put(pending.index, vector)
        except Exception as error:
            logger.exception("batch_failed rows=%d", len(rows))
            self._fail(batch, error)
        except BaseException:
            self._fail(batch, NotReady("the service stopped before this request was done"))
            raise
        else:
            self._measured(sum(map(len, rows)), time.perf_counter() - started)

    @staticmethod
    def _fail(batch: list[_Pending], error: Exception) -> None:
        for job in {id(p.job): p.job for p in batch}.values():
            # A new error for each request: one that is raised twice collects both tracebacks.
            if isinstance(error, NotReady):
                job.fail(NotReady(error.message))
            else:
                failure = InferenceFailed(
                    "the model failed on the batch that held this request; other requests are not "
                    "affected: send it again, and report it with its request id if it fails twice"
                )
                failure.__cause__ = error
                job.fail(failure)
