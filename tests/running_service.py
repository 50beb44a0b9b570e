"""`polygrain serve` as a process of its own, for tests that use it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("polygrain")
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs."""

    host: str  # and port, as in 127.0.0.1:8080
    pid: int


@contextmanager
def running_service(folder: Path, bundle: Path | None = None) -> Iterator[str]:
    """The address of a service on a free port, whose state and log lie in `folder`; on the shipped
    bundle where none is given."""
    given = [] if bundle is None else ["--bundle", str(bundle.absolute())]
    with service_started_by(["serve", *given], folder) as service:
        yield f"http://{service.host}"


@contextmanager
def service_started_by(words: Sequence[str], folder: Path, **environment: str) -> Iterator[Service]:
    """The service that `polygrain` starts by these words in `folder`, where its state and log lie
    too; on a free port, with one thread, once it answers. In float32, which every processor has: so
    what it answers is the same everywhere."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLYGRAIN_")}
    ours |= {
        "POLYGRAIN_PORT": str(port),
        "POLYGRAIN_STATE_DIR": str(folder / "state"),
        "POLYGRAIN_THREADS": "1",
        "POLYGRAIN_PRECISION": "float32",
        **environment,
    }
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([PROGRAM, *words], cwd=folder, env=ours, stderr=output) as server,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/readyz", server, log)
            yield Service(f"127.0.0.1:{port}", server.pid)
        finally:
            server.terminate()
            assert server.wait(PATIENCE_S) == 0


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):
                return
        except urllib.error.URLError:
            running = server.poll() is None and time.monotonic() < deadline
            assert running, log.read_text(encoding="utf-8")
            time.sleep(0.1)
