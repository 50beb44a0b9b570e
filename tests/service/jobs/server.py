"""A real `polygrain serve` on a free port, to be killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.fakes import PATIENCE_S

ROOT = Path(__file__).parents[3]


class Server:
    """Runs until it is killed."""

    def __init__(self, bundle: Path, state: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
        command += ["--port", "0", "--bundle", str(bundle), "--state-dir", str(state)]
        self._process = subprocess.Popen(
            [*command, "--threads", "1", *options],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        port = self._port()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(self._process.stderr)

    def _port(self) -> int:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            for line in list(self.log):
                if found := re.search(r"listening host=\S+ port=(\d+)", line):
                    return int(found[1])
            assert time.monotonic() < deadline, self.log
            assert self._process.poll() is None, self.log
            time.sleep(0.02)

    def wait_for(self, condition: Callable[[httpx2.Client], Any]) -> Any:  # noqa: ANN401
        """What `condition` tells once it is true."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not (found := condition(self.client)):
            assert time.monotonic() < deadline, self.log[-20:]
            time.sleep(0.01)
        return found

    def kill(self) -> None:
        """kill -9, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End in order; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        self._process.send_signal(number)
        code = self._process.wait(2 * PATIENCE_S)
        self.client.close()
        self._reader.join(PATIENCE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code
