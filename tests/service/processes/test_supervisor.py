"""Several workers as they run: real processes, real signals."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from models.bundle import Bundle
from tests.fakes import PATIENCE_S
from tests.service.serving_process import ServingProcess
from tests.tiny_bundle import write_tiny_bundle
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


class _Service(ServingProcess):
    """`polygrain serve --workers 2`, whose model waits for `open_gate`."""

    def __init__(self, bundle: Path, gate: Path, port: str = "0") -> None:
        self._gate = gate
        program = ("-m", "tests.service.processes.gated_workers", str(gate))
        super().__init__(bundle, "--workers", "2", "--port", port, program=program)

    def pids(self, event: str) -> list[int]:
        """The processes that a line of `event` tells of, in the order of the lines."""
        return [int(pid) for pid in re.findall(rf"{event}\b.* pid=(\d+)", self.log)]

    def open_gate(self) -> None:
        self._gate.touch()

    def end(self) -> None:
        """Kill the supervisor, and see that its workers end."""
        self.open_gate()
        self.close()
        wait_until(lambda: not any(map(_alive, self.pids("worker_ready"))), "workers are left")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def service(tiny_bundle: Bundle, tmp_path: Path) -> Iterator[_Service]:
    service = _Service(tiny_bundle.path, tmp_path / "gate")
    yield service
    service.end()


def _post(url: str) -> httpx2.Response:
    # Longer than the steps together during which the gate may be closed.
    return httpx2.post(f"{url}/embed", json={"inputs": "the cat"}, timeout=4 * PATIENCE_S)


def _occupy_both(
    service: _Service, threads: ThreadPoolExecutor
) -> dict[int, list[Future[httpx2.Response]]]:
    """Requests one by one, until each of the two workers has one in its model, by process."""
    url, held = service.url, dict[int, list[Future[httpx2.Response]]]()
    for _ in range(60):
        if len(held) == 2:
            return held
        before = len(service.pids("entered"))
        request = threads.submit(_post, url)
        # A second request of one worker waits in its queue, behind the first.
        deadline = time.monotonic() + 1
        while len(service.pids("entered")) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        entered = service.pids("entered")
        if len(entered) > before:
            held.setdefault(entered[-1], []).append(request)
    raise AssertionError("one worker took every connection")


def test_kill_9_of_a_worker_loses_its_own_requests_alone(service: _Service) -> None:
    url = service.url
    first = service.pids("worker_ready")
    assert len(set(first)) == 2
    with ThreadPoolExecutor(64) as threads:
        try:
            held = _occupy_both(service, threads)
            victim, survivor = held
            os.kill(victim, signal.SIGKILL)
            for request in held[victim]:
                with pytest.raises(httpx2.TransportError):
                    request.result(PATIENCE_S)
            wait_until(lambda: len(service.pids("worker_ready")) == 3, "nobody took its place")
        finally:
            service.open_gate()
        for request in held[survivor]:
            assert request.result(PATIENCE_S).status_code == 200
    assert service.pids("worker_died") == [victim]
    assert service.said("by='signal 9'")
    assert len(set(service.pids("worker_ready"))) == 3
    assert httpx2.get(f"{url}/readyz").status_code == 200
    assert {_post(url).status_code for _ in range(10)} == {200}


def test_a_signal_answers_what_every_worker_accepted_and_exits_0(service: _Service) -> None:
    with ThreadPoolExecutor(64) as threads:
        try:
            held = _occupy_both(service, threads)
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(service.url), "it goes on accepting")
        finally:
            service.open_gate()
        for requests in held.values():
            assert [request.result(PATIENCE_S).status_code for request in requests] == [200] * len(
                requests
            )
    assert service.process.wait(PATIENCE_S) == 0
    assert not any(map(_alive, service.pids("worker_ready")))
    assert not service.said("Traceback")
    assert not service.said("worker_died")


def _accepts(url: str) -> bool:
    try:
        httpx2.get(f"{url}/livez", timeout=1)
    except httpx2.TransportError:
        return False
    return True


def test_workers_end_when_their_supervisor_is_killed(service: _Service) -> None:
    assert service.url
    service.open_gate()
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(map(_alive, service.pids("worker_ready"))), "they live on")


def test_a_bundle_that_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bad", graph=b"no graph")
    service = _Service(bundle.path, tmp_path / "gate")
    try:
        assert service.process.wait(PATIENCE_S) == 1
    finally:
        service.end()
    errors = [line for line in service.lines if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "encoder.onnx cannot be loaded" in errors[0]
    assert not service.said("listening")
    assert not service.said("Traceback")


def test_a_port_that_other_workers_serve_is_refused(
    service: _Service, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    port = service.url.rpartition(":")[2]
    other = _Service(tiny_bundle.path, tmp_path / "other", port=port)
    try:
        assert other.process.wait(PATIENCE_S) == 1
    finally:
        other.end()
    assert other.lines == [
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another with --host and --port\n"
    ]
