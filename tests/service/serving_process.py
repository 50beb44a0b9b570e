"""`polygrain serve`, or a program around it, in a process whose standard error a test reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.fakes import PATIENCE_S
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLAIN = ("-c", "from service.cli import main; main()")


class ServingProcess:
    """Serves on a free port, unless told another, until it is ended; no setting of the
    environment reaches it."""

    def __init__(
        self,
        bundle: Path,
        *options: str,
        program: Sequence[str] = PLAIN,
        told: bool = False,
        **variables: str,
    ) -> None:
        """`program` is what Python runs, before the words `serve` and `options`. With `told` it
        reads from a pipe, `process.stdin`. `variables` are added to the environment."""
        self.lines: list[str] = []
        environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYGRAIN_")}
        environment.update(variables)
        arguments = ("--port", "0", "--threads", "1", "--bundle", str(bundle), *options)
        self.process = subprocess.Popen(
            [sys.executable, *program, "serve", *arguments],
            stdin=subprocess.PIPE if told else None,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return "".join(list(self.lines))

    def count(self, text: str) -> int:
        """How many lines hold `text`."""
        return sum(text in line for line in list(self.lines))

    def said(self, text: str) -> bool:
        """Whether a line holds `text`."""
        return self.count(text) > 0

    @property
    def address(self) -> str:
        """HOST:PORT, once it listens."""
        wait_until(
            lambda: self.said("listening") or self.process.poll() is not None,
            self.lines,
            2 * PATIENCE_S,
        )
        found = re.search(r"listening host=(\S+) port=(\d+)", self.log)
        assert found, self.log
        return f"{found[1]}:{found[2]}"

    @property
    def url(self) -> str:
        """Its address as others ask it, once it listens."""
        return f"http://{self.address}"

    def close(self) -> None:
        """Kill it, where it has not ended, and read what it wrote to its end.

        The end comes once all who inherited its standard error have ended too.
        """
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()
