"""The health check, run as the image runs it against servers that do and do not answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "healthcheck.py"


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server whose `/readyz` answers with `status`, and all else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(**settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYGRAIN_")}
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT)],
        env=environment | {f"POLYGRAIN_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_a_service_that_is_ready(host: str) -> None:
    with answering(200) as port:
        result = check(HOST=host, PORT=str(port))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_service_that_is_not_ready() -> None:
    with answering(503) as port:
        result = check(PORT=str(port))
    assert result.returncode == 1
    assert result.stderr == f"/readyz at 127.0.0.1 port {port} answers 503\n"


@pytest.mark.parametrize("port", ["1", "no number"])
def test_nobody_answers(port: str) -> None:
    result = check(HOST="0.0.0.0", PORT=port)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("/readyz at 127.0.0.1 port ")
