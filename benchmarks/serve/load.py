"""The load generator: closed loop and open loop over raw sockets, in one thread.

It knows nothing of the servers but bytes to send. Its own CPU time is part of every figure, since
it shares the cores with what it measures.
"""

from __future__ import annotations

import gc
import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.serve.connection import Connection, Request
from benchmarks.serve.window import OK, UNANSWERED, Answered, Window, figures

# Nothing at all from a server for so long means that it hangs.
_SILENCE_S = 120.0
# How often a loop looks at the clock while nothing comes.
_TICK_S = 0.02
# Open loop: what is due while so many are unanswered waits for a connection, and its clock runs.
MAX_CONNECTIONS = 256
_OPEN_AT_FIRST = 16
# Open loop: how long after the last arrival answers are waited for.
_PATIENCE_S = 10.0

CpuSeconds = Callable[[], float]


class Stalled(RuntimeError):
    """A server stopped answering."""


class _Wire:
    """The connections to one server, and what came back over them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}
        self._heard_s = time.perf_counter()
        self.answered: list[Answered] = []
        # Requests that are on their way.
        self.busy = 0

    def __len__(self) -> int:
        return len(self._by_descriptor)

    def open(self) -> Connection:
        """One more connection."""
        connection = Connection(self._port)
        self._by_descriptor[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def send(self, connection: Connection, request: Request, counted_from_s: float) -> None:
        """Begin a request, whose latency counts from `counted_from_s`."""
        self.busy += 1
        if not connection.send(request, counted_from_s):
            self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def wait(self, timeout_s: float) -> Iterator[Connection]:
        """Connections whose answers have come, each recorded in `answered`; none in vain.

        Raises Stalled where no answer has come for long though some are awaited.
        """
        for descriptor, event in self._epoll.poll(timeout_s):
            connection = self._by_descriptor[descriptor]
            if event & select.EPOLLOUT and connection.flush():
                self._epoll.modify(descriptor, select.EPOLLIN)
            if event & ~select.EPOLLOUT and (status := connection.receive()):
                now = self._heard_s = time.perf_counter()
                self.busy -= 1
                self.answered.append(Answered(connection.sent_s, now, connection.texts, status))
                yield connection
        if self.busy and time.perf_counter() > self._heard_s + _SILENCE_S:
            raise Stalled(f"{self.busy} requests and no answer for {_SILENCE_S:.0f} s")

    def awaited(self) -> list[tuple[float, int]]:
        """From when each request that is on its way counts, and its texts."""
        connections = self._by_descriptor.values()
        return [(one.sent_s, one.texts) for one in connections if one.is_busy]

    def nap(self, timeout_s: float) -> None:
        """Wait until something can be read; to the microsecond, where epoll's own is too coarse."""
        select.select([self._epoll], [], [], max(0.0, timeout_s))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._by_descriptor.values():
            connection.socket.close()
        self._epoll.close()


@contextmanager
def _wire(port: int) -> Iterator[_Wire]:
    wire = _Wire(port)
    # A collection walks all records and would count as the server's latency.
    gc.collect()
    gc.disable()
    try:
        yield wire
    finally:
        gc.enable()
        wire.close()


@dataclass(slots=True)
class _Meter:
    """The CPU seconds between two moments, the server's and our own."""

    cpu: CpuSeconds
    server_s: float = 0.0
    own_s: float = 0.0

    def start(self) -> float:
        """Begin, and tell the time."""
        self.server_s, self.own_s = self.cpu(), time.process_time()
        return time.perf_counter()

    def stop(self) -> float:
        """End, and tell the time."""
        now = time.perf_counter()
        self.own_s = time.process_time() - self.own_s
        self.server_s = self.cpu() - self.server_s
        return now


def closed_loop(
    port: int,
    requests: Sequence[Request],
    *,
    clients: int,
    seconds: float,
    warm_s: float,
    cpu: CpuSeconds = lambda: 0.0,
    companion: Request | None = None,
) -> Window:
    """`clients` connections, each sending its next request when its answer is there.

    The figures are of `seconds` after `warm_s`, or of as long as it takes to answer two requests of
    each client. With `companion`, a request that is sent once on a connection of its own when the
    window opens, they are of the time until its answer, and count it only where it fails. `cpu`
    tells the server's CPU seconds so far. Raises Stalled where nothing comes any more.
    """
    supply, meter = itertools.cycle(requests), _Meter(cpu)
    with _wire(port) as wire:
        other = wire.open() if companion else None
        failed = 0

        def drive(until: Callable[[], bool]) -> None:
            nonlocal failed
            while not until():
                for connection in wire.wait(_TICK_S):
                    if connection is other:
                        failed += wire.answered.pop().status != OK
                    else:
                        wire.send(connection, next(supply), time.perf_counter())

        for connection in [wire.open() for _ in range(clients)]:
            wire.send(connection, next(supply), time.perf_counter())
        begun_s = time.perf_counter()
        drive(lambda: time.perf_counter() >= begun_s + warm_s)

        start_s = meter.start()
        if companion and other:
            wire.send(other, companion, start_s)
            drive(lambda: wire.busy == clients)
        else:
            enough = len(wire.answered) + 2 * clients
            end_by_s = start_s + seconds
            drive(lambda: time.perf_counter() >= end_by_s and len(wire.answered) >= enough)
        end_s = meter.stop()

        while wire.busy:
            for _ in wire.wait(_TICK_S):
                pass
    return figures(
        wire.answered,
        start_s,
        end_s,
        cpu_s=meter.server_s,
        generator_cpu_s=meter.own_s,
        failed=failed,
    )


def open_loop(
    port: int,
    requests: Sequence[Request],
    arrivals_s: Sequence[float],
    *,
    warm_s: float,
    cpu: CpuSeconds = lambda: 0.0,
) -> Window:
    """Requests that are sent when they are due, whether or not earlier ones are answered.

    `arrivals_s` counts from the start and rises; the figures are from `warm_s` on until all are
    answered. A latency counts from when the request was due, so what a slow server holds up counts
    as its time. A request without an answer some seconds after the last arrival has failed; its
    latency is the time until then.
    """
    supply, meter = itertools.cycle(requests), _Meter(cpu)
    with _wire(port) as wire:
        idle = [wire.open() for _ in range(_OPEN_AT_FIRST)]
        begun_s = time.perf_counter()
        waiting = deque(begun_s + arrival for arrival in arrivals_s)
        last_s = waiting[-1]

        def drive(until_s: float) -> None:
            while waiting or wire.busy:
                now = time.perf_counter()
                if now >= until_s:
                    return
                while waiting and waiting[0] <= now and (idle or len(wire) < MAX_CONNECTIONS):
                    connection = idle.pop() if idle else wire.open()
                    wire.send(connection, next(supply), waiting.popleft())
                can_send = waiting and (idle or len(wire) < MAX_CONNECTIONS)
                next_s = waiting[0] if can_send else now + _TICK_S
                wire.nap(min(next_s, until_s) - time.perf_counter())
                idle.extend(wire.wait(0))

        # By the timetable: a late start would take the first requests out of the figures.
        start_s = begun_s + warm_s
        drive(start_s)
        meter.start()
        drive(last_s + _PATIENCE_S)
        end_s = meter.stop()
        unanswered = [
            *(Answered(sent_s, end_s, texts, UNANSWERED) for sent_s, texts in wire.awaited()),
            *(Answered(due_s, end_s, 0, UNANSWERED) for due_s in waiting),
        ]
    return figures(
        [*wire.answered, *unanswered],
        start_s,
        end_s,
        cpu_s=meter.server_s,
        generator_cpu_s=meter.own_s,
    )


def poisson(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """Arrival times of a Poisson process, rising, at least one, the same for the same seed."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate_per_s, max(1, int(3 * rate_per_s * seconds) + 10))
    times = np.cumsum(gaps)
    kept = times[times < seconds]
    return [float(time_s) for time_s in (kept if len(kept) else times[:1])]
