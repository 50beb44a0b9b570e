"""Several worker processes behind one port, each with an engine of its own.

The supervisor itself opens no model, starts no thread and answers no request. It forks workers,
lets none accept a connection before all are warm, starts anew what dies, and passes a signal to
stop on. Workers and supervisor hold the ends of a socket pair: a worker tells through it how far
it is, and the end of either side is seen by the other, whatever it died of.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

logger = logging.getLogger(__name__)

# What a worker does, telling of it.
Work = Callable[["Report"], None]

_WARM, _GO, _LISTENING = b"warm", b"go", b"listening"
_MESSAGE_BYTES = 4_096

# A worker that dies is started anew at once where it had been warm for so long, else later and
# later: one that dies at each start must not take the cores from those that serve.
_STEADY_S = 10.0
_LONGEST_PAUSE_S = 30.0

# How long a worker may take beyond its own limit before it is killed.
_PATIENCE_S = 10.0


class WorkerFailed(RuntimeError):
    """A worker did not come up when the service started; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's side: what it tells its supervisor."""

    control: socket.socket

    def warm(self) -> None:
        """Tell that the model has run; returns when this worker may listen.

        Raises SystemExit where the supervisor ended or stops meanwhile.
        """
        self.control.sendall(_WARM)
        if not self.control.recv(len(_GO)):
            raise SystemExit(0)

    def listening(self) -> None:
        """Tell that connections are accepted from now on."""
        self.control.sendall(_LISTENING)

    def failed(self, reason: str) -> None:
        """Tell in one line why this worker ends before it is warm."""
        self.control.sendall(reason.encode()[:_MESSAGE_BYTES])


@dataclass(slots=True, eq=False)
class _Worker:
    """One place among the workers, and the process that fills it now, if any."""

    number: int
    pid: int | None = None
    control: socket.socket | None = None
    warm: bool = False
    listening_since: float | None = None
    reason: str = ""
    start_at: float = 0.0
    pause_s: float = 0.0


class Supervisor:
    """Runs `count` processes of `work` until SIGTERM or SIGINT."""

    def __init__(self, work: Work, count: int, *, stop_timeout_s: float) -> None:
        self._work = work
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._stop_timeout_s = stop_timeout_s
        self._selector = selectors.DefaultSelector()
        self._going = False
        self._listening = False
        self._stopping = False

    def run(self, when_listening: Callable[[], None]) -> None:
        """Serve until a signal, then let every worker end; `when_listening` is called once all do.

        Raises WorkerFailed where a worker ends before that.
        """
        reader, writer = socket.socketpair()
        with reader, writer, self._selector:
            writer.setblocking(False)
            signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            self._selector.register(reader, selectors.EVENT_READ)
            try:
                while not self._stopping:
                    self._start_due()
                    self._wait(self._next_start_s())
                    if not self._going and all(w.warm for w in self._workers):
                        self._going = True
                        for worker in self._workers:
                            self._let_go(worker)
                    if not self._listening and all(w.listening_since for w in self._workers):
                        self._listening = True
                        when_listening()
            finally:
                self._stop()
                signal.set_wakeup_fd(-1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _wait(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, _Worker):
                self._heard(key.data)
            else:
                key.fileobj.recv(64)  # type: ignore[union-attr]  # the wake-up of a signal

    def _next_start_s(self) -> float | None:
        due = [worker.start_at for worker in self._workers if worker.pid is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.pid is None and worker.start_at <= time.monotonic():
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(theirs)
        theirs.close()
        worker.pid, worker.control = pid, ours
        worker.warm, worker.listening_since, worker.reason = False, None, ""
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(self, control: socket.socket) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, exit_in_peace)
            # Held open here, the others' ends would hide from them that the supervisor died.
            self._selector.close()
            for other in self._workers:
                if other.control is not None:
                    other.control.close()
            self._work(Report(control))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            logger.exception("worker_failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _heard(self, worker: _Worker) -> None:
        assert worker.control is not None
        try:
            message = worker.control.recv(_MESSAGE_BYTES)
        except ConnectionError:
            message = b""
        if message == _WARM:
            worker.warm = True
            if self._going:
                self._let_go(worker)
        elif message == _LISTENING:
            worker.listening_since = time.monotonic()
            logger.info("worker_ready worker=%d pid=%d", worker.number, worker.pid)
        elif message:
            worker.reason = message.decode(errors="replace")
        else:
            self._ended(worker)

    def _let_go(self, worker: _Worker) -> None:
        assert worker.control is not None
        try:
            worker.control.sendall(_GO)
        except ConnectionError:
            return  # it died meanwhile, which the next wait sees

    def _ended(self, worker: _Worker) -> None:
        assert worker.pid is not None
        assert worker.control is not None
        self._selector.unregister(worker.control)
        worker.control.close()
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        since = worker.listening_since
        lived_s = 0.0 if since is None else time.monotonic() - since
        pid, worker.pid, worker.control = worker.pid, None, None
        if self._stopping:
            return
        if not self._listening:
            self._stopping = True
            raise WorkerFailed(worker.reason or f"worker {worker.number} ended with {how}")
        steady = lived_s >= _STEADY_S
        worker.pause_s = 0.0 if steady else min(_LONGEST_PAUSE_S, max(0.5, 2 * worker.pause_s))
        worker.start_at = time.monotonic() + worker.pause_s
        logger.warning(
            "worker_died worker=%d pid=%d by=%r restart_in_s=%.1f",
            *(worker.number, pid, worker.reason or how, worker.pause_s),
        )

    def _stop(self) -> None:
        """Pass SIGTERM on, wait for every worker, kill those that take too long."""
        self._stopping = True
        for worker in self._workers:
            # The end of file reaches those too that a signal would have met at a bad time.
            if worker.control is not None:
                worker.control.shutdown(socket.SHUT_WR)
        self._signal(signal.SIGTERM)
        kill_at = time.monotonic() + self._stop_timeout_s + _PATIENCE_S
        while any(worker.pid for worker in self._workers):
            if time.monotonic() >= kill_at:
                logger.warning("workers_killed reason=they did not end in time")
                self._signal(signal.SIGKILL)
                kill_at = math.inf
            self._wait(1.0)
        if self._listening:
            logger.info("stopped")

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                os.kill(worker.pid, number)


def exit_in_peace(number: int, frame: FrameType | None) -> None:
    """A signal handler: end with 0, which is what stopping on demand is."""
    raise SystemExit(0)
