"""The load generator sends what it says, and counts time from where it says."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from benchmarks.serve import load
from benchmarks.serve.connection import Connection, Request, read_head
from benchmarks.serve.load import Stalled, closed_loop, open_loop, poisson
from tests.benchmarks.fake_server import PATIENCE_S, FakeServer


def _request(body: bytes, texts: int = 1) -> Request:
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Request(head + body, texts)


def _requests(count: int) -> list[Request]:
    return [_request(b"%d" % number) for number in range(count)]


async def _at_once(body: bytes) -> tuple[int, bytes]:
    return 200, b"x" * 3_000


def test_a_closed_loop_keeps_each_client_at_one_request() -> None:
    async def slowly(body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(0.01)
        return 200, b"{}"

    with FakeServer(slowly) as server:
        window = closed_loop(server.port, _requests(1_000), clients=5, seconds=0.2, warm_s=0.05)
    assert server.most_in_flight == server.connections == 5
    # In the order given, each once before any comes again.
    assert sorted(map(int, server.bodies)) == list(range(len(server.bodies)))
    assert window.failed == 0
    assert window.samples >= 10
    # The server takes at least so long, so no fewer milliseconds may be counted.
    assert 10 <= window.p50_ms <= window.p99_ms
    # Five clients that each wait at least 10 ms.
    assert window.requests_per_s <= 5 / 0.01


def test_a_closed_loop_counts_texts_and_goes_on_until_each_client_has_been_answered_twice() -> None:
    async def slowly(body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(0.05)
        return 200, b"{}"

    with FakeServer(slowly) as server:
        request = _request(b"x", texts=32)
        window = closed_loop(server.port, [request], clients=2, seconds=0.0, warm_s=0.0)
    assert len(server.bodies) >= 4
    assert window.texts_per_s == pytest.approx(32 * window.requests_per_s)


def test_answers_that_come_in_pieces_are_read_whole() -> None:
    async def numbered(body: bytes) -> tuple[int, bytes]:
        return 200, b"y" * int(body)

    with FakeServer(numbered, piece=7) as server:
        requests = [_request(b"%d" % size) for size in (0, 1, 40, 100)]
        window = closed_loop(server.port, requests, clients=2, seconds=0.0, warm_s=0.0)
    assert window.failed == 0
    assert set(server.bodies) == {b"0", b"1", b"40", b"100"}


def test_a_request_larger_than_the_socket_takes_is_sent_whole() -> None:
    large = b"z" * 20_000_000
    with FakeServer(_at_once) as server:
        closed_loop(server.port, [_request(large)], clients=1, seconds=0.0, warm_s=0.0)
    assert all(body == large for body in server.bodies)


def test_refusals_are_counted_and_are_no_throughput() -> None:
    async def refuse_odd(body: bytes) -> tuple[int, bytes]:
        return (429, b"later") if int(body) % 2 else (200, b"{}")

    with FakeServer(refuse_odd) as server:
        window = closed_loop(server.port, _requests(2), clients=1, seconds=0.1, warm_s=0.0)
    odd = sum(int(body) % 2 for body in server.bodies)
    assert window.failed == odd > 0


def test_a_companion_is_sent_once_and_ends_the_window() -> None:
    done = asyncio.Event()
    beside = 0

    async def companion_waits(body: bytes) -> tuple[int, bytes]:
        """The large one is answered when fifty others have come beside it, and no more do."""
        nonlocal beside
        if body != b"large":
            beside += b"large" in server.bodies
            if beside == 50:
                done.set()
        elif not done.is_set():
            await done.wait()
        if beside > 50:
            await asyncio.sleep(0.5)
        return 200, b"{}"

    with FakeServer(companion_waits) as server:
        window = closed_loop(
            server.port,
            _requests(10_000),
            clients=1,
            seconds=0.0,
            warm_s=0.02,
            companion=_request(b"large", texts=500),
        )
    assert server.bodies.count(b"large") == 1
    # What was answered while the large one ran: its own answer and its texts are not among them.
    assert 49 <= window.samples <= 55
    assert window.texts_per_s == pytest.approx(window.requests_per_s)
    assert window.failed == 0


def test_a_companion_that_is_refused_is_a_failure() -> None:
    async def refuse_large(body: bytes) -> tuple[int, bytes]:
        return (413, b"") if body == b"large" else (200, b"{}")

    with FakeServer(refuse_large) as server:
        window = closed_loop(
            server.port,
            _requests(10),
            clients=1,
            seconds=0.0,
            warm_s=0.0,
            companion=_request(b"large"),
        )
    assert window.failed == 1


def test_the_generator_reads_the_cpu_clock_at_both_edges_of_the_window() -> None:
    readings = iter([3.0, 7.0])
    with FakeServer(_at_once) as server:
        window = closed_loop(
            server.port,
            _requests(9),
            clients=1,
            seconds=0.1,
            warm_s=0.0,
            cpu=lambda: next(readings),
        )
    # The window is 0.1 s or longer: 4 CPU seconds for the texts in it.
    texts = 4.0 / window.cpu_s_per_1000 * 1000
    assert texts >= 0.1 * window.texts_per_s * 0.999
    assert next(readings, None) is None


def test_an_open_loop_counts_from_when_a_request_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one connection the server holds up all who come after, and their clocks run."""
    monkeypatch.setattr(load, "_OPEN_AT_FIRST", 1)
    monkeypatch.setattr(load, "MAX_CONNECTIONS", 1)

    async def slowly(body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(0.02)
        return 200, b"{}"

    with FakeServer(slowly) as server:
        window = open_loop(server.port, _requests(9), [0.0] * 9, warm_s=0.0)
    assert server.most_in_flight == server.connections == 1
    assert [int(body) for body in server.bodies] == list(range(9))
    assert window.samples == 9
    # All nine are due at once: the fifth has its answer after five times 20 ms.
    assert window.p50_ms >= 5 * 20
    assert window.p99_ms >= np.percentile(20 * np.arange(1, 10), 99)


def test_an_open_loop_does_not_wait_for_answers_before_it_sends() -> None:
    released = asyncio.Event()

    async def when_all_have_come(body: bytes) -> tuple[int, bytes]:
        if server.in_flight == 40:
            released.set()
        await released.wait()
        return 200, b"{}"

    arrivals = poisson(400, 0.1, seed=3)[:40]
    arrivals += [arrivals[-1]] * (40 - len(arrivals))
    with FakeServer(when_all_have_come) as server:
        window = open_loop(server.port, _requests(40), arrivals, warm_s=0.0)
    assert server.most_in_flight == 40
    assert window.samples == 40
    assert window.failed == 0
    # Nobody is answered before the last has come, so the first waits as long as that takes.
    assert window.p99_ms >= 1e3 * (arrivals[-1] - arrivals[0]) * 0.9


def test_requests_without_an_answer_fail_and_stay_among_the_latencies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "_PATIENCE_S", 1.5)

    async def half(body: bytes) -> tuple[int, bytes]:
        if int(body) % 2:
            await asyncio.sleep(PATIENCE_S)
        return 200, b"{}"

    with FakeServer(half) as server:
        window = open_loop(server.port, _requests(10), [0.0] * 10, warm_s=0.0)
    assert window.failed == 5
    assert window.samples == 10
    assert window.p99_ms >= 1_500


def test_requests_that_could_not_even_be_sent_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_PATIENCE_S", 0.1), ("_OPEN_AT_FIRST", 1), ("MAX_CONNECTIONS", 2)):
        monkeypatch.setattr(load, name, value)

    async def never(body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(PATIENCE_S)
        return 200, b""

    with FakeServer(never) as server:
        window = open_loop(server.port, _requests(9), [0.0] * 9, warm_s=0.0)
    assert server.connections == 2
    assert window.failed == window.samples == 9


def test_warm_up_arrivals_are_sent_and_not_counted() -> None:
    with FakeServer(_at_once) as server:
        arrivals = [0.0, 0.01, 0.02, 0.3, 0.31]
        window = open_loop(server.port, _requests(5), arrivals, warm_s=0.2)
    assert len(server.bodies) == 5
    assert window.samples == 2


def test_a_server_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_SILENCE_S", 0.2)

    async def never(body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(PATIENCE_S)
        return 200, b""

    with FakeServer(never) as server, pytest.raises(Stalled, match="1 requests and no answer"):
        closed_loop(server.port, _requests(1), clients=1, seconds=0.1, warm_s=0.0)


def test_a_server_that_closes_the_connection_is_an_error() -> None:
    async def break_off(body: bytes) -> tuple[int, bytes]:
        raise ConnectionError

    with FakeServer(break_off) as server, pytest.raises(ConnectionError, match="awaits its answer"):
        closed_loop(server.port, _requests(1), clients=1, seconds=0.1, warm_s=0.0)


def test_a_head_is_read_in_any_case_and_needs_a_length() -> None:
    assert read_head(b"HTTP/1.1 200 OK\r\nCONTENT-Length: 12\r\nA: b") == (200, 12)
    assert read_head(b"HTTP/1.1 429 Busy\r\na: b\r\ncontent-length:0") == (429, 0)
    with pytest.raises(ValueError, match="no Content-Length"):
        read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


def test_one_connection_carries_requests_one_after_another() -> None:
    with FakeServer(_at_once) as server:
        connection = Connection(server.port)
        for _ in range(3):
            assert connection.send(_request(b"7"), 0.0)
            deadline = time.monotonic() + PATIENCE_S
            while not (status := connection.receive()):
                assert time.monotonic() < deadline
                time.sleep(0.001)  # or the server's thread may get no turn
            assert status == 200
            assert not connection.is_busy
        connection.socket.close()
    assert server.connections == 1


def test_poisson_arrivals_have_the_rate_and_the_spread_of_the_process() -> None:
    arrivals = np.array(poisson(200, 100, seed=1))
    assert poisson(200, 100, seed=1) == arrivals.tolist()
    assert (np.diff(arrivals) > 0).all()
    assert 0 < arrivals[0] < arrivals[-1] < 100
    # 20,000 are expected; the count of a Poisson process has that as its variance too.
    assert abs(len(arrivals) - 20_000) < 5 * 20_000**0.5
    gaps = np.diff(arrivals)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert len(poisson(0.001, 0.1, seed=1)) == 1
