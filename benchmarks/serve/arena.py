"""All contestants alive at once, and all but one of them paused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.serve.contestants import Contestant, Encoding, Vectors
from benchmarks.serve.processes import Process, ask, first_answer, free_port

_FIRST_TEXTS = ("good morning",)


@dataclass(frozen=True, slots=True)
class Running:
    """A contestant's server, and where it listens."""

    contestant: Contestant
    process: Process
    port: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of `texts`, one request for each; OSError where one is refused."""
        dialect = self.contestant.dialect
        rows = []
        for text in texts:
            status, body = ask(self.port, dialect.request([text], Encoding.FLOAT))
            if status != 200:
                raise OSError(f"{self.contestant.name} answered {status}: {body[:300]!r}")
            rows.append(dialect.read(body)[0])
        return np.stack(rows)


def start(contestant: Contestant, logs: Path) -> tuple[Running, float]:
    """Start a server: it, and the seconds from its start to its first answer."""
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in contestant.command]
    request = contestant.dialect.request(_FIRST_TEXTS, Encoding.FLOAT)
    started_s = time.perf_counter()
    process = Process(
        contestant.name, command, contestant.environment, logs / f"{contestant.name}.log"
    )
    try:
        first_answer(process, port, request)
    except BaseException:
        process.stop()
        raise
    return Running(contestant, process, port), time.perf_counter() - started_s


class Arena:
    """Processes that are paused except while it is their turn; all end with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def admit(self, process: Process) -> None:
        """Pause `process` until its turn, and end it with the arena."""
        self._stack.callback(process.stop)
        process.pause()

    @contextmanager
    def turn(self, process: Process) -> Iterator[None]:
        """Let one process run."""
        process.check()
        process.resume()
        try:
            yield
        finally:
            process.pause()


def idle_cpu(process: Process, seconds: float) -> float:
    """The share of one core that a server takes while it is asked nothing."""
    before = process.tree.cpu_s()
    time.sleep(seconds)
    return (process.tree.cpu_s() - before) / seconds
