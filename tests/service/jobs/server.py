"""A real `polygrain serve` on a free port, to be killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.fakes import PATIENCE_S
from tests.service.serving_process import ServingProcess


class Server(ServingProcess):
    """Runs until it is killed."""

    def __init__(self, bundle: Path, state: Path, *options: str) -> None:
        super().__init__(bundle, "--state-dir", str(state), *options)
        self.client = httpx2.Client(base_url=self.url, timeout=PATIENCE_S)

    def wait_for(self, condition: Callable[[httpx2.Client], Any]) -> Any:  # noqa: ANN401
        """What `condition` tells once it is true."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not (found := condition(self.client)):
            assert time.monotonic() < deadline, self.lines[-20:]
            time.sleep(0.01)
        return found

    def kill(self) -> None:
        """kill -9, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End in order; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(2 * PATIENCE_S)
        self.client.close()
        self.close()
        return code
