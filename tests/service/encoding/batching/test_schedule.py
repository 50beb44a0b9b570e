"""The laws of the queue, held by any sequence of arrivals, departures and batches."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.encoding.batching import PADDING_SHARE, Priority
from service.encoding.batching.lane import Entry, Lane, Request
from service.encoding.batching.schedule import COMPANY_S, SINGLE_ROWS, TURNS, Schedule
from service.encoding.tokenizer import Row, pack

BUDGET, SHARED = 256, 64


def _row(name: int, length: int) -> Row:
    return Row(pack([name] * length), 0)


def _submit(
    schedule: Schedule,
    rows: list[Row],
    now: float = 0.0,
    priority: Priority = Priority.INTERACTIVE,
    whole: bool = False,
) -> Request:
    request = Request(schedule.lane_of(rows, priority), whole)
    for place, row in enumerate(rows):
        schedule.add(request, place, row, now)
    return request


def _names(batch: list[Entry]) -> list[int]:
    return [int.from_bytes(entry.row.ids[:4], "little") for entry in batch]


def _padded(batch: list[Entry]) -> int:
    return max(entry.length for entry in batch) * len(batch)


class Queue(RuleBasedStateMachine):
    """Requests come, leave and fail while batches are taken and finished, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(BUDGET, SHARED)
        self.now = 0.0
        self.live: dict[Request, list[Row]] = {}
        self.answered: Counter[tuple[Request, int]] = Counter()
        self.running: list[list[Entry]] = []

    @rule(
        # Few names, so that rows are often equal.
        rows=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 300)), min_size=1, max_size=12),
        priority=st.sampled_from(Priority),
        whole=st.booleans(),
    )
    def submit(self, rows: list[tuple[int, int]], priority: Priority, whole: bool) -> None:
        made = [_row(*row) for row in rows]
        self.live[_submit(self.schedule, made, self.now, priority, whole)] = made

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(list(self.live)))
        del self.live[request]
        self.schedule.end(request)

    @rule()
    def take_beside(self) -> None:
        others = any(batch[0].lane is not Lane.SINGLE for batch in self.running)
        wanted = self.schedule.wants_company
        batch = self.schedule.take_beside(SHARED)
        assert bool(batch) == wanted
        assert others or not batch
        if batch:
            assert {entry.lane for entry in batch} == {Lane.SINGLE}
            assert all(entry.waiters and entry.taken for entry in batch)
            assert _padded(batch) <= SHARED or len(batch) == 1
            self.running.append(batch)

    @rule(full=st.booleans())
    def take(self, full: bool) -> None:
        batch = (self.schedule.take_full if full else self.schedule.take)(self.now)
        if not batch:
            return
        assert len({entry.lane for entry in batch}) == 1
        assert len(set(map(id, batch))) == len(batch)
        assert all(entry.waiters and entry.taken for entry in batch)
        if batch[0].whole:
            ((request, _),) = batch[0].waiters
            assert [entry.row for entry in batch] == self.live[request]
        else:
            assert not any(entry.whole for entry in batch)
            assert _padded(batch) <= BUDGET or len(batch) == 1
            padding = _padded(batch) - sum(entry.length for entry in batch)
            assert padding <= BUDGET * PADDING_SHARE
        if full:
            assert sum(entry.length for entry in batch) + self.schedule.tokens >= SHARED
        self.running.append(batch)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.schedule.done(batch[0].lane)
        self.schedule.finish(batch)
        for entry in batch:
            for request, place in entry.waiters:
                assert self.live[request][place] == entry.row
                self.answered[request, place] += 1

    @invariant()
    def counts_are_those_of_the_rows_that_somebody_waits_for(self) -> None:
        taken = {id(entry) for batch in self.running for entry in batch}
        queued = {
            id(entry): entry
            for request in self.live
            for entry in request.entries
            if id(entry) not in taken and not entry.taken
        }
        assert self.schedule.rows == len(queued)
        assert self.schedule.tokens == sum(entry.length for entry in queued.values())
        for request in self.live:
            left = sum(entry.length for entry in request.entries if id(entry) in queued)
            assert request.left == left

    def teardown(self) -> None:
        while batch := self.schedule.take(self.now):
            self.running.append(batch)
        while self.running:
            batch = self.running.pop()
            self.schedule.finish(batch)
            for entry in batch:
                for request, place in entry.waiters:
                    assert self.live[request][place] == entry.row
                    self.answered[request, place] += 1
        for request, rows in self.live.items():
            assert [self.answered[request, place] for place in range(len(rows))] == [1] * len(rows)
        assert not self.schedule._wanted
        assert self.schedule.rows == self.schedule.tokens == 0


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def _bound(lane: Lane, place: int) -> int:
    """The longest that a row waits, in batches, by the rows of its lane queued before it."""
    if lane is Lane.SINGLE:
        return 2 * place + 4
    return (TURNS[lane] + 1) * 2 * (place + 1)


# The same as docs/scheduling.md has it.
_FORMULAS = {
    Lane.SINGLE: "2*p* + 4",
    Lane.LARGE: "10(*p* + 1)",
    Lane.JOB: "18(*p* + 1)",
}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 300), min_size=1, max_size=8),
            st.sampled_from(Priority),
            st.integers(0, 2),  # batches that run before the next arrival
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_no_row_waits_longer_than_its_place_allows_whatever_comes_later(
    arrivals: list[tuple[list[int], Priority, int, bool]],
) -> None:
    schedule = Schedule(BUDGET, SHARED)
    queued: Counter[Lane] = Counter()
    deadline: dict[int, int] = {}
    batches = name = 0

    def run() -> bool:
        nonlocal batches
        batch = schedule.take(0.0)
        batches += 1
        for entry, done in zip(batch, _names(batch), strict=True):
            assert batches <= deadline.pop(done)
            queued[entry.lane] -= 1
        return bool(batch)

    for lengths, priority, turns, whole in arrivals:
        rows = [_row(name + number, length) for number, length in enumerate(lengths)]
        lane = schedule.lane_of(rows, priority)
        _submit(schedule, rows, 0.0, priority, whole)
        for _ in lengths:
            deadline[name] = batches + _bound(lane, queued[lane])
            queued[lane] += 1
            name += 1
        for _ in range(turns):
            run()
    while run():
        pass
    assert not deadline


def test_without_pause_small_requests_leave_each_lane_its_turn() -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 50) for n in range(1_000, 1_100)])
    _submit(schedule, [_row(n, 50) for n in range(2_000, 2_100)], 0.0, Priority.JOB)
    taken: list[Lane] = []
    for name in range(200):
        _submit(schedule, [_row(name, 200)])  # one fills a batch
        taken.append(schedule.take(0.0)[0].lane)
    assert taken.count(Lane.SINGLE) > 100
    for lane, turn in TURNS.items():
        gaps = "".join("x" if one is lane else "." for one in taken).split("x")
        assert max(map(len, gaps)) <= turn


@given(st.integers(0, 60))
def test_a_small_request_waits_for_one_batch_of_a_large_one_at_most(before: int) -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 5 + n % 20) for n in range(10_000)])
    for _ in range(before):
        schedule.take(0.0)
    _submit(schedule, [_row(-1 & 0xFFFF, 6)])
    assert Lane.SINGLE in [schedule.take(0.0)[0].lane for _ in range(2)]


def test_a_batch_beside_a_large_one_is_nobodys_turn() -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 50) for n in range(100)])
    _submit(schedule, [_row(1_000, 6)])
    assert schedule.take_beside(SHARED) == []  # nothing runs that it would be beside
    assert [schedule.take(0.0)[0].lane for _ in range(2)] == [Lane.SINGLE, Lane.LARGE]
    for name in range(2_000, 2_040):
        _submit(schedule, [_row(name, 6)])
        assert _names(schedule.take_beside(SHARED)) == [name]
    _submit(schedule, [_row(3_000, 6)])
    assert schedule.take(0.0)[0].lane is Lane.SINGLE  # or else a turn of the large one were due


def test_small_requests_go_in_order_of_arrival() -> None:
    schedule = Schedule(BUDGET, SHARED)
    for name, length in enumerate((200, 10, 150, 60)):  # lengths that do not travel together
        _submit(schedule, [_row(name, length)])
    assert [_names(schedule.take(0.0)) for _ in range(4)] == [[0], [1], [2], [3]]


def test_batches_shrink_while_somebody_more_urgent_may_come_and_grow_again() -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 8) for n in range(1_000)])
    assert _padded(schedule.take(0.0)) == BUDGET
    _submit(schedule, [_row(5_000, 8)], now=10.0)
    sizes = [_padded(schedule.take(10.0 + COMPANY_S * 0.99)) for _ in range(3)]
    assert sizes == [8, SHARED, SHARED]
    assert _padded(schedule.take(10.0 + COMPANY_S)) == BUDGET


def test_jobs_run_when_nobody_else_waits_and_yield_to_those_who_do() -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 16) for n in range(100)], 0.0, Priority.JOB)
    assert schedule.take(0.0)[0].lane is Lane.JOB
    _submit(schedule, [_row(n, 16) for n in range(1_000, 1_032)], 0.0)
    first, second, third = (schedule.take(0.0) for _ in range(3))
    assert [batch[0].lane for batch in (first, second, third)] == [Lane.LARGE, Lane.LARGE, Lane.JOB]
    assert [_padded(batch) for batch in (first, third)] == [BUDGET, SHARED]


def test_a_request_with_less_left_overtakes_one_with_more() -> None:
    schedule = Schedule(BUDGET, SHARED)
    # Lengths that do not travel together.
    _submit(schedule, [_row(n, 100) for n in range(100)])
    _submit(schedule, [_row(n, 20) for n in range(1_000, 1_020)])
    lengths = [schedule.take(0.0)[0].length for _ in range(4)]
    assert lengths == [20, 100, 20, 100]  # by turns the least left and the oldest


def test_what_counts_as_small() -> None:
    schedule = Schedule(BUDGET, SHARED)
    few = [_row(n, 10) for n in range(SINGLE_ROWS)]
    assert schedule.lane_of(few, Priority.INTERACTIVE) is Lane.SINGLE
    assert schedule.lane_of([*few, _row(9, 1)], Priority.INTERACTIVE) is Lane.LARGE
    assert schedule.lane_of([_row(0, BUDGET + 1)], Priority.INTERACTIVE) is Lane.LARGE
    assert schedule.lane_of(few, Priority.JOB) is Lane.JOB


def test_the_last_thread_is_kept_for_small_requests_while_they_come() -> None:
    schedule = Schedule(BUDGET, SHARED, threads=2)
    _submit(schedule, [_row(n, 16) for n in range(1_000)])
    first, second = schedule.take(0.0), schedule.take(0.0)
    assert [first[0].lane, second[0].lane] == [Lane.LARGE] * 2  # nobody else is there
    schedule.done(Lane.LARGE)
    _submit(schedule, [_row(9_000, 6)], now=0.0)
    assert schedule.take(0.0)[0].lane is Lane.SINGLE
    schedule.done(Lane.SINGLE)
    assert schedule.take(COMPANY_S * 0.9) == []
    schedule.done(Lane.LARGE)
    assert schedule.take(COMPANY_S * 0.9)[0].lane is Lane.LARGE
    assert schedule.take(COMPANY_S)[0].lane is Lane.LARGE


@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=80),
    st.integers(1, 600),
    st.integers(0, 40),
)
def test_a_batch_grows_until_no_row_of_like_length_fits(
    lengths: list[int], budget: int, where: int
) -> None:
    """Neither the next shorter nor the next longer row that waits could have come along."""
    schedule = Schedule(budget, budget)
    _submit(schedule, [_row(n, length) for n, length in enumerate(lengths)])
    for _ in range(where):
        schedule.take(0.0)
    batch = schedule.take(0.0)
    if not batch:
        return
    taken = [entry.length for entry in batch]
    rest = []
    while more := schedule.take(0.0):
        rest += [entry.length for entry in more]
    limit = int(budget * PADDING_SHARE)
    for length in {max((n for n in rest if n <= min(taken)), default=0), *taken} - {0}:
        if length in rest:
            longest = max(taken)
            padding = longest * (len(taken) + 1) - sum(taken) - length
            assert longest * (len(taken) + 1) > budget or padding > limit


def test_equal_rows_run_once_and_serve_all_who_want_them() -> None:
    schedule = Schedule(BUDGET, SHARED)
    first = _submit(schedule, [_row(1, 9)])
    second = _submit(schedule, [_row(2, 9), _row(1, 9)])
    assert (schedule.rows, schedule.joined) == (2, 1)
    schedule.end(first)  # its row stays, because the second wants it
    batch = schedule.take(0.0)
    third = _submit(schedule, [_row(1, 9)])  # joins while the batch runs
    answers = {(entry.row, request, place) for entry in batch for request, place in entry.waiters}
    assert answers == {
        (_row(2, 9), second, 0),
        (_row(1, 9), second, 1),
        (_row(1, 9), third, 0),
    }
    schedule.finish(batch)
    _submit(schedule, [_row(1, 9)])
    assert schedule.rows == 1


@pytest.mark.parametrize(("other", "queued"), [(Row(pack([1] * 9), 1), 2), (_row(1, 9), 1)])
def test_only_rows_that_are_equal_in_everything_are_joined(other: Row, queued: int) -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(1, 9), other])
    assert schedule.rows == queued


def test_nobody_waits_for_the_row_of_a_less_urgent_request() -> None:
    schedule = Schedule(BUDGET, SHARED)
    _submit(schedule, [_row(n, 30) for n in range(1_000)], 0.0, Priority.JOB)
    _submit(schedule, [_row(999, 30)])
    batch = schedule.take(0.0)
    assert (batch[0].lane, _names(batch)) == (Lane.SINGLE, [999])


def test_the_documentation_gives_these_bounds() -> None:
    text = (Path(__file__).parents[4] / "docs" / "scheduling.md").read_text(encoding="utf-8")
    for lane, formula in _FORMULAS.items():
        assert f"\n| `{lane.name.lower()}` | {formula} |\n" in text
    for lane, turn in TURNS.items():
        assert re.search(rf"^\| `{lane.name.lower()}` \|.* \| 1 batch in {turn} \|$", text, re.M)
        assert f"{2 * (turn + 1)}(" in _FORMULAS[lane]
    assert f"at most {SINGLE_ROWS} rows" in text
    assert COMPANY_S == 1.0
    assert "came within the last second" in text
