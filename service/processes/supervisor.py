"""Several worker processes behind one port, each with an engine of its own.

The supervisor itself opens no model, starts no thread and answers no request. It forks workers,
lets none accept a connection before all are warm, starts anew what dies, and passes a signal to
stop on. Workers and supervisor hold the ends of a socket pair: a worker tells through it how far
it is, and the end of either side is seen by the other, whatever it died of.
"""

from __future__ import annotations

import contextlib
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
from pathlib import Path
from types import FrameType
from typing import NoReturn

from service.processes.control import Control
from service.processes.report import Report, exit_in_peace
from service.processes.rollout import Rollout

logger = logging.getLogger(__name__)

# What a worker does, telling of it.
Work = Callable[[Report], None]

# A worker that dies is started anew at once where it had been warm for so long, else later and
# later: one that dies at each start must not take the cores from those that serve.
_STEADY_S = 10.0
_LONGEST_PAUSE_S = 30.0

# How long a worker may take beyond its own limit before it is killed.
_PATIENCE_S = 10.0


class WorkerFailed(RuntimeError):
    """A worker did not come up when the service started; the message is one line that says why."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One place among the workers, and the process that fills it now, if any."""

    number: int
    pid: int | None = None
    control: Control | None = None
    bundle: Path | None = None
    warm: bool = False
    listening_since: float | None = None
    reason: str = ""
    start_at: float = 0.0
    pause_s: float = 0.0


class Supervisor:
    """Runs `count` processes of `work` until SIGTERM or SIGINT.

    All serve one bundle: at first that at `bundle`, then whichever a worker was asked for, or on
    SIGHUP that at `bundle` again, where a link may have changed.
    """

    def __init__(self, work: Work, count: int, *, bundle: Path, stop_timeout_s: float) -> None:
        self._work = work
        self._configured = bundle
        # Resolved, so that who is started later opens what the others have.
        self._bundle = bundle.resolve()
        self._rollout: Rollout[_Worker] | None = None
        self._reload = False
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
            signal.signal(signal.SIGHUP, self._on_hang_up)
            self._selector.register(reader, selectors.EVENT_READ)
            try:
                while not self._stopping:
                    if self._reload and self._listening:
                        self._reload = False
                        self._change(str(self._configured), asker=None)
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

    def _on_hang_up(self, number: int, frame: FrameType | None) -> None:
        self._reload = True

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
        ours, theirs = map(Control, socket.socketpair())
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(Report(theirs, worker.number, self._bundle))
        theirs.close()
        worker.pid, worker.control, worker.bundle = pid, ours, self._bundle
        worker.warm, worker.listening_since, worker.reason = False, None, ""
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(self, report: Report) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, exit_in_peace)
            # Sent to the supervisor, which passes it on; a terminal sends it to all.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            # Held open here, the others' ends would hide from them that the supervisor died.
            self._selector.close()
            for other in self._workers:
                if other.control is not None:
                    other.control.close()
            self._work(report)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException as error:
            # A library that was just being imported tells of the signal's exit as a fault of its.
            if isinstance(error.__cause__, SystemExit):
                code = 0
            else:
                logger.exception("worker_failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _heard(self, worker: _Worker) -> None:
        assert worker.control is not None
        messages = worker.control.receive()
        if messages is None:
            self._ended(worker)
            return
        for kind, *words in messages:
            match kind:
                case "warm":
                    worker.warm = True
                    if self._going:
                        self._let_go(worker)
                case "listening":
                    self._listens(worker)
                case "failed":
                    worker.reason = words[0]
                case "use":
                    self._change(words[0], asker=worker)
                case "opened" if self._rollout:
                    self._rollout.opened(worker)
                case "refused" if self._rollout:
                    self._rollout.refused(worker, words[0])
        self._decide()

    def _listens(self, worker: _Worker) -> None:
        worker.listening_since = time.monotonic()
        logger.info("worker_ready worker=%d pid=%d", worker.number, worker.pid)
        if worker.bundle != self._bundle:
            # The bundle changed while this one started; it ends, and its successor has the new one.
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGTERM)

    def _change(self, path: str, asker: _Worker | None) -> None:
        """Let every worker open the bundle at `path`, or the configured one where it is empty."""
        if self._rollout is not None:
            self._tell(asker, "result", "busy", "")
            return
        resolved = str(Path(path or self._configured).resolve())
        able = [worker for worker in self._workers if worker.listening_since]
        self._rollout = Rollout(resolved, able, asker)
        for worker in able:
            self._tell(worker, "open", resolved)
        self._decide()

    def _decide(self) -> None:
        """Once all have answered, let all take the new bundle, or none."""
        rollout = self._rollout
        if rollout is None or not rollout.decided:
            return
        self._rollout = None
        if rollout.succeeds:
            self._bundle = Path(rollout.path)
        for worker in rollout.workers:
            if rollout.succeeds:
                worker.bundle = self._bundle
            self._tell(worker, "take" if rollout.succeeds else "drop")
        if rollout.refusal is not None:
            logger.error("bundle_not_changed reason=%r", rollout.refusal)
        self._tell(
            rollout.asker, "result", "no" if rollout.refusal else "yes", rollout.refusal or ""
        )

    def _tell(self, worker: _Worker | None, *words: str) -> None:
        if worker is not None and worker.control is not None:
            # One that died meanwhile the next wait sees.
            with contextlib.suppress(ConnectionError):
                worker.control.send(*words)

    def _let_go(self, worker: _Worker) -> None:
        self._tell(worker, "go")

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
        worker.listening_since = None
        if self._rollout is not None:
            self._rollout.ended(worker)
            self._decide()
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
                worker.control.socket.shutdown(socket.SHUT_WR)
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
