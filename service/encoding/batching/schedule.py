"""What runs next: the queue of rows as a plain value, without threads, clock or model.

Rows wait in three lanes. `single`: the few rows of a small interactive request; `large`: the rows
of the others; `job`: work that nobody sits and waits for. A batch takes rows of one lane: a head
that is chosen by urgency, and rows of like length that travel with it. `docs/scheduling.md` has
the laws in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from service.encoding.batching.lane import Entry, Lane, LaneQueue, Request
from service.encoding.batching.plan import PADDING_SHARE
from service.encoding.tokenizer import Row

# A request is `single` with at most this many rows, if they fit into one batch.
SINGLE_ROWS = 4

# After the last row of a lane, how long batches of less urgent lanes stay small: its next row is
# likely to come soon, and would have to wait for the batch that runs.
COMPANY_S = 1.0

# While its rows wait, one batch in so many is the lane's own; it may come one later where the
# turns of two lanes fall together.
TURNS = {Lane.LARGE: 4, Lane.JOB: 8}


class Priority(StrEnum):
    """Who waits for a request: someone now, or nobody yet."""

    INTERACTIVE = "interactive"
    JOB = "job"


class Schedule:
    """Rows in, batches out. Not safe to call from several threads at once: hold a lock.

    Rows times the longest row of a batch stays within `batch_tokens`, and within
    `shared_batch_tokens` where a more urgent lane would have to wait for it; a single longer row
    goes alone.
    """

    def __init__(self, batch_tokens: int, shared_batch_tokens: int, threads: int = 1) -> None:
        self._batch_tokens = batch_tokens
        self._shared_batch_tokens = min(shared_batch_tokens, batch_tokens)
        self._threads = threads
        self._lanes = {lane: LaneQueue() for lane in Lane}
        self._wanted: dict[Row, Entry] = {}
        self._waited = dict.fromkeys(Lane, 0)
        self._last_seen = dict.fromkeys(Lane, float("-inf"))
        self._running: Counter[Lane] = Counter()
        # Rows that were not queued because an equal one was on its way already.
        self.joined = 0
        # Rows that left the queue because nobody wanted them any more.
        self.dropped = 0

    @property
    def rows(self) -> int:
        """Rows that wait for a batch."""
        return sum(lane.rows for lane in self._lanes.values())

    @property
    def tokens(self) -> int:
        """Tokens of the rows that wait for a batch."""
        return sum(lane.tokens for lane in self._lanes.values())

    @property
    def idle(self) -> bool:
        """Whether no row waits, and no batch is formed or runs."""
        return not any(map(self.is_busy_with, Lane))

    def is_busy_with(self, lane: Lane) -> bool:
        """Whether a row of `lane` waits, or a batch of it is formed or runs."""
        return bool(self._lanes[lane].rows or self._running[lane])

    def lane_of(self, rows: Sequence[Row], priority: Priority) -> Lane:
        """The lane of a request with these rows."""
        if priority is Priority.JOB:
            return Lane.JOB
        single = len(rows) <= SINGLE_ROWS and sum(map(len, rows)) <= self._batch_tokens
        return Lane.SINGLE if single else Lane.LARGE

    def add(self, request: Request, index: int, row: Row, now: float) -> None:
        """Queue `row` for the place `index` in `request`'s answer.

        Where an equal row is on its way and no less urgent, its vector will serve both.
        """
        self._last_seen[request.lane] = now
        entry = None if request.whole else self._wanted.get(row)
        if entry is not None and (entry.taken or entry.lane <= request.lane):
            entry.waiters.append((request, index))
            self.joined += 1
        else:
            entry = Entry(row, len(row), request.lane, now, [(request, index)], request.whole)
            if not request.whole:
                self._wanted[row] = entry
            if not self._lanes[entry.lane].rows:
                self._waited[entry.lane] = 0
            self._lanes[entry.lane].add(entry)
        request.entries.append(entry)
        if not entry.taken:
            request.left += entry.length
            self._lanes[entry.lane].enter(request)

    def end(self, request: Request) -> None:
        """Forget a request that is over; rows that nobody else waits for leave the queue."""
        for entry in request.entries:
            kept = [waiter for waiter in entry.waiters if waiter[0] is not request]
            if not (kept or entry.taken):
                self._lanes[entry.lane].remove(entry)
                self.finish([entry])
                self.dropped += 1
            entry.waiters = kept
        for lane in self._lanes.values():
            lane.leave(request)
        request.entries.clear()

    def take(self, now: float) -> list[Entry]:
        """The batch to run now; empty where nothing waits that may run."""
        lane = self._choose(now)
        return [] if lane is None else self._take(lane, now)

    def take_full(self, now: float) -> list[Entry]:
        """The batch to run next, if there are rows enough that waiting would not make it fuller."""
        lane = self._choose(now)
        if lane is None or self._lanes[lane].tokens < self._budget(lane, now):
            return []
        return self._take(lane, now)

    def take_single(self, now: float) -> list[Entry]:
        """The batch to run now, if it is of the most urgent lane."""
        lane = self._choose(now)
        return self._take(lane, now) if lane is Lane.SINGLE else []

    @property
    def wants_company(self) -> bool:
        """Whether rows of the most urgent lane wait while a batch of another runs."""
        others = sum(self._running.values()) - self._running[Lane.SINGLE]
        return others > 0 and self._lanes[Lane.SINGLE].rows > 0

    def take_beside(self, budget: int) -> list[Entry]:
        """The batch of the most urgent lane to run beside one of another, of at most `budget`
        tokens; empty where none such runs. It is no lane's turn."""
        if not self.wants_company:
            return []
        queue = self._lanes[Lane.SINGLE]
        self._running[Lane.SINGLE] += 1
        return queue.fill(queue.oldest(), budget, int(budget * PADDING_SHARE))

    def done(self, lane: Lane) -> None:
        """A batch of `lane` has left the model, well or not."""
        self._running[lane] -= 1

    def finish(self, entries: Sequence[Entry]) -> None:
        """Let no row join these any more: they are answered or given up."""
        for entry in entries:
            if self._wanted.get(entry.row) is entry:
                del self._wanted[entry.row]

    def fail(self, entries: Sequence[Entry]) -> set[Request]:
        """End every request that waits for one of these; returns them."""
        self.finish(entries)
        requests = {request for entry in entries for request, _ in entry.waiters}
        for request in requests:
            self.end(request)
        return requests

    def _take(self, lane: Lane, now: float) -> list[Entry]:
        queue = self._lanes[lane]
        head = queue.oldest() if lane is Lane.SINGLE else queue.head()
        padding_limit = int(self._batch_tokens * PADDING_SHARE)
        if head.whole:
            batch = queue.take_whole(head)
        else:
            batch = queue.fill(head, self._budget(lane, now), padding_limit)
        for other in Lane:
            self._waited[other] += 1
        self._waited[lane] = 0
        self._running[lane] += 1
        return batch

    def _choose(self, now: float) -> Lane | None:
        """The most urgent lane with rows, unless a turn of another is due."""
        waiting = [lane for lane in Lane if self._lanes[lane].rows and not self._held(lane, now)]
        late = {lane: self._waited[lane] + 1 - TURNS.get(lane, 0) for lane in waiting}
        due = [lane for lane in waiting if lane in TURNS and late[lane] >= 0]
        if due:
            return max(due, key=lambda lane: (late[lane], -lane))
        return waiting[0] if waiting else None

    def _held(self, lane: Lane, now: float) -> bool:
        """Whether the last free thread is kept for the most urgent lane."""
        busy = sum(count for other, count in self._running.items() if other is not Lane.SINGLE)
        return (
            lane is not Lane.SINGLE
            and 0 < self._threads - 1 <= busy
            and self._is_company(Lane.SINGLE, now)
        )

    def _budget(self, lane: Lane, now: float) -> int:
        shared = any(self._is_company(other, now) for other in Lane if other < lane)
        return self._shared_batch_tokens if shared else self._batch_tokens

    def _is_company(self, lane: Lane, now: float) -> bool:
        """Whether rows of `lane` wait, or came a short while ago."""
        return bool(self._lanes[lane].rows) or now - self._last_seen[lane] < COMPANY_S
