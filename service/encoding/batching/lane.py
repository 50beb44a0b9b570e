"""Rows that wait for a batch: those of one lane, findable by age, by length and by request."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice

from service.encoding.tokenizer import Row

# More padding than any batch has.
_NEVER = 1 << 60

# The oldest requests among which `head` looks for the one with the least left.
_LOOKED_AT = 256


class Lane(IntEnum):
    """Classes of rows, the most urgent first."""

    SINGLE = 0
    LARGE = 1
    JOB = 2


@dataclass(slots=True, eq=False)
class Request:
    """The rows that one caller waits for."""

    lane: Lane
    # Whether its rows are one batch by themselves: what they come to then depends on nothing else,
    # to the last bit.
    whole: bool = False
    # Its rows in order, those that it shares with other requests included.
    entries: list[Entry] = field(default_factory=list)
    # Tokens of its rows that no batch has taken yet.
    left: int = 0
    # Entries before this one are taken: where the search for the next begins.
    cursor: int = 0

    def next_entry(self) -> Entry | None:
        """Its first row that no batch has taken."""
        while self.cursor < len(self.entries) and self.entries[self.cursor].taken:
            self.cursor += 1
        return self.entries[self.cursor] if self.cursor < len(self.entries) else None


@dataclass(slots=True, eq=False)
class Entry:
    """A row in the queue or in a batch, and all who wait for its vector."""

    row: Row
    length: int
    lane: Lane
    queued_at: float
    # Each request with the place that the vector has in its answer; empty: nobody wants it.
    waiters: list[tuple[Request, int]]
    # Whether it is of a request that is one batch by itself.
    whole: bool = False
    # Whether it has left the queue, for a batch or because nobody wants it.
    taken: bool = False


class LaneQueue:
    """Rows in order of arrival, and at the same time sorted by length.

    Everything takes time in proportion to the rows added, removed or taken, not to those waiting.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0
        # Requests with rows here, in order of arrival; one that has none left may linger.
        self._requests: dict[Request, None] = {}
        # Ordered dictionaries, because a list cannot lose its middle cheaply.
        self._by_age: OrderedDict[Entry, None] = OrderedDict()
        self._by_length: dict[int, OrderedDict[Entry, None]] = {}
        self._lengths: list[int] = []  # the keys of `_by_length`, sorted
        self._oldest_turn = False

    def add(self, entry: Entry) -> None:
        """Queue `entry` as the youngest."""
        self._by_age[entry] = None
        if not entry.whole:  # or else `fill` would find it
            bucket = self._by_length.get(entry.length)
            if bucket is None:
                bucket = self._by_length[entry.length] = OrderedDict()
                insort(self._lengths, entry.length)
            bucket[entry] = None
        self.rows += 1
        self.tokens += entry.length

    def enter(self, request: Request) -> None:
        """Let `request`, which waits for a row here, be looked at by `head`."""
        self._requests[request] = None

    def leave(self, request: Request) -> None:
        """Forget `request`, which has ended."""
        self._requests.pop(request, None)

    def remove(self, entry: Entry) -> None:
        """Take `entry` out."""
        del self._by_age[entry]
        if not entry.whole:
            bucket = self._by_length[entry.length]
            del bucket[entry]
            if not bucket:
                del self._by_length[entry.length]
                del self._lengths[bisect_left(self._lengths, entry.length)]
        entry.taken = True
        self.rows -= 1
        self.tokens -= entry.length
        for request, _ in entry.waiters:
            request.left -= entry.length
        if not self.rows:
            self._requests.clear()

    def oldest(self) -> Entry:
        """The row that has waited longest."""
        return next(iter(self._by_age))

    def head(self) -> Entry:
        """By turns the next row of the request with the least left to do, and the oldest row."""
        self._oldest_turn = not self._oldest_turn
        if not self._oldest_turn:
            return self.oldest()
        candidates: list[tuple[Request, Entry]] = []
        for request in list(islice(self._requests, _LOOKED_AT)):
            entry = request.next_entry()
            if entry is None:
                del self._requests[request]
            elif entry in self._by_age:  # and not a row of another lane that it shares
                candidates.append((request, entry))
        if not candidates:
            return self.oldest()
        return min(candidates, key=lambda candidate: candidate[0].left)[1]

    def take_whole(self, head: Entry) -> list[Entry]:
        """Take out all rows of the request that `head` is of, in their order."""
        (request, _), *_ = head.waiters
        batch = [entry for entry in request.entries if not entry.taken]
        for entry in batch:
            self.remove(entry)
        return batch

    def fill(self, head: Entry, budget: int, padding_limit: int) -> list[Entry]:
        """Take `head` out, and with it rows of the nearest lengths, what pads least first.

        Rows times the longest stays within `budget`, or `head` goes alone; padding stays within
        `padding_limit`. Of equal lengths the oldest rows go.
        """
        batch = [head]
        self.remove(head)
        longest, spare = head.length, padding_limit
        cut = bisect_right(self._lengths, head.length)
        shorter, longer = self._lengths[:cut], self._lengths[cut:]
        longer.reverse()  # so that both end with the nearest
        while shorter or longer:
            # The padding that one more row brings; a longer one pads all that are there.
            down = longest - shorter[-1] if shorter else _NEVER
            up = len(batch) * (longer[-1] - longest) if longer else _NEVER
            if down <= up:
                room = budget // longest - len(batch)
                if down:
                    room = min(room, spare // down)
                taken = self._take(shorter.pop(), room)
                spare -= down * len(taken)
                if len(taken) >= room:  # even shorter rows would pad more
                    shorter.clear()
            else:
                length = longer.pop()
                room = budget // length - len(batch)
                if room < 1 or up > spare:
                    longer.clear()
                    continue
                taken = self._take(length, room)
                longest, spare = length, spare - up
            batch += taken
        return batch

    def _take(self, length: int, count: int) -> list[Entry]:
        taken = list(islice(self._by_length[length], max(count, 0)))
        for entry in taken:
            self.remove(entry)
        return taken
