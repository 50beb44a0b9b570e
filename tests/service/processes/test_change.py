"""The bundle of a running `polygrain serve` changes, by command and by SIGHUP, in all workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.fakes import PATIENCE_S
from tests.service.serving_process import PLAIN, ServingProcess
from tests.tiny_bundle import write_tiny_bundle
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


@contextmanager
def _service(bundle: Path, workers: int) -> Iterator[ServingProcess]:
    """A service of its own, that ends in order."""
    service = ServingProcess(bundle, "--workers", str(workers))
    try:
        yield service
        service.process.terminate()
        assert service.process.wait(PATIENCE_S) == 0, service.log
    finally:
        service.close()


@contextmanager
def _asked_meanwhile(url: str) -> Iterator[Counter[tuple[int, str]]]:
    """Askers on connections that come and go; counts the status and the model of each answer."""
    seen: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            status, body = _call(url, "POST", "/embed", b'{"inputs": "the cat"}')
            seen[status, json.loads(body).get("model")] += 1
            time.sleep(0.01)  # the service has a turn on a busy machine

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _models(url: str) -> set[str]:
    # Each a connection of its own, so that every worker is met.
    return {json.loads(_call(url, "GET", "/info")[1])["name"] for _ in range(16)}


def _call(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """The status and the body of an answer, over a connection of its own."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _use(url: str, *path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *PLAIN, "bundle", "use", *path, "--url", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_bundles_change_under_load_and_no_request_fails(
    tiny_bundle: Bundle, tmp_path: Path, workers: int
) -> None:
    other = write_tiny_bundle(tmp_path / "other", name="other")
    bad = write_tiny_bundle(tmp_path / "bad", graph=b"no graph")
    link = tmp_path / "current"
    link.symlink_to(tiny_bundle.path)
    with _service(link, workers) as service:
        url, process = service.url, service.process
        with _asked_meanwhile(url) as seen:
            used = _use(url, str(other.path))
            assert used.stdout == f"OK other 0.1.0 is served at {url}\n", used.stderr
            assert _models(url) == {"other"}
            refused = _use(url, str(bad.path))
            assert refused.returncode == 1
            assert "the bundle that was served goes on" in refused.stderr
            assert _models(url) == {"other"}
            os.kill(process.pid, signal.SIGHUP)  # the configured one again
            wait_until(lambda: _models(url) == {"tiny"}, service.log)
            link.unlink()
            link.symlink_to(other.path)
            os.kill(process.pid, signal.SIGHUP)
            wait_until(lambda: _models(url) == {"other"}, service.log)
            link.unlink()
            link.symlink_to(bad.path)
            os.kill(process.pid, signal.SIGHUP)
            wait_until(lambda: "bundle_not_changed" in service.log, service.log)
        assert {status for status, _ in seen} == {200}
        assert {model for _, model in seen} == {"tiny", "other"}
        assert _models(url) == {"other"}
        if workers == 2:
            metrics = _call(url, "GET", "/metrics")[1].decode()
            per_worker = re.findall(
                r'polygrain_requests_total{.*path="/embed".*worker="(\d)"} (\S+)', metrics
            )
            assert {number for number, _ in per_worker} == {"1", "2"}
            assert sum(float(count) for _, count in per_worker) == sum(seen.values())
    assert "Traceback" not in service.log


def test_a_worker_that_is_restarted_serves_what_the_others_do(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    other = write_tiny_bundle(tmp_path / "other", name="other")
    with _service(tiny_bundle.path, 2) as service:
        url = service.url
        assert _use(url, str(other.path)).returncode == 0
        first = re.findall(r"worker_ready worker=\d pid=(\d+)", service.log)
        os.kill(int(first[0]), signal.SIGKILL)
        wait_until(lambda: service.log.count("worker_ready") == 3, service.log)
        assert _models(url) == {"other"}


def test_a_service_that_is_not_there_is_one_line() -> None:
    result = _use("http://127.0.0.1:9", "/some/bundle")
    assert result.returncode == 1
    assert "no service answers at http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr
