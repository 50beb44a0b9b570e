"""Servers as processes: started, paused, stopped, and what they used. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.usage import Tree

# Loading torch from a cold disk takes long; a server that takes longer is broken.
START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 20.0


class ServerFailed(RuntimeError):
    """A server did not start, answer or stop; the message names it and its log."""


class Process:
    """A command in a session of its own, what it prints in the file `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        pipes: bool = False,
    ) -> None:
        """With `pipes` its standard input and output are the caller's, not the log's."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                start_new_session=True,
            )
        self.tree = Tree(self.popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pause(self) -> None:
        """Let it use no CPU until `resume`."""
        self.tree.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self.tree.send(signal.SIGCONT)

    def check(self) -> None:
        """Raise ServerFailed where it has ended."""
        if self.popen.poll() is not None:
            raise ServerFailed(
                f"{self.name} ended with status {self.popen.returncode}; its log is {self.log}"
            )

    def stop(self) -> None:
        """End it and all its children: SIGTERM, and SIGKILL where that is not enough."""
        self.resume()
        self.tree.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(_STOP_TIMEOUT_S)
        self.tree.send(signal.SIGKILL)
        self.popen.wait()


class Worker(Process):
    """A Python module that answers tasks: a line of JSON in, a line of JSON out."""

    def __init__(
        self,
        name: str,
        module: str,
        log: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = (sys.executable, "-m", module, *arguments)
        super().__init__(name, command, environment or {}, log, pipes=True)

    def ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer to `task`; ServerFailed where it ends instead."""
        stdin, stdout = self.popen.stdin, self.popen.stdout
        if stdin is None or stdout is None:
            raise ServerFailed(f"{self.name} has no pipes")
        try:
            stdin.write(json.dumps(task).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ServerFailed(f"{self.name} ended without an answer; its log is {self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it."""
        super().stop()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


def answer_tasks(handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The other side of a `Worker`: answer each line of standard input until it ends."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(handle(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def first_answer(process: Process, port: int, request: bytes) -> bytes:
    """Ask until the server answers 200, and give the body of that answer.

    Raises ServerFailed where the process ends or does not answer in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    seen = "no connection"
    while time.monotonic() < deadline:
        process.check()
        try:
            status, body = ask(port, request)
        except OSError as error:
            seen = str(error)
        else:
            if status == 200:
                return body
            seen = f"status {status}: {body[:200].decode(errors='replace')}"
        # Short against any cold start, long enough to leave the server the processor.
        time.sleep(0.005)
    raise ServerFailed(f"{process.name} gave no answer ({seen}); its log is {process.log}")


def ask(port: int, request: bytes, timeout_s: float = 120.0) -> tuple[int, bytes]:
    """Send one prepared request on a connection of its own: its status and its body.

    Raises OSError where there is no server, or it breaks off.
    """
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        received = bytearray()
        while part := connection.recv(1 << 20):
            received += part
    head, separator, body = bytes(received).partition(b"\r\n\r\n")
    if not separator:
        raise ConnectionError("the server closed the connection without an answer")
    return int(head.split(b" ", 2)[1]), body
