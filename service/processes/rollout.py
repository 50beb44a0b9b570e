"""One change of the bundle in several workers: all open it, then all take it, or none does."""

from __future__ import annotations

from typing import Generic, TypeVar

_Worker = TypeVar("_Worker")


class Rollout(Generic[_Worker]):
    """Who has opened the new bundle, and what becomes of it."""

    def __init__(self, path: str, workers: list[_Worker], asker: _Worker | None = None) -> None:
        self.path = path
        # Who was asked for the change by a request; None for a signal.
        self.asker = asker
        self.workers = workers
        self.refusal: str | None = None
        self._waiting = list(workers)

    @property
    def decided(self) -> bool:
        """Whether everybody has answered."""
        return not self._waiting

    @property
    def succeeds(self) -> bool:
        """Whether all that live have opened it, and one does."""
        return self.decided and self.refusal is None and bool(self.workers)

    def opened(self, worker: _Worker) -> None:
        """A worker holds the new bundle beside the old one."""
        if worker in self._waiting:
            self._waiting.remove(worker)

    def refused(self, worker: _Worker, reason: str) -> None:
        """A worker cannot open it; the first reason counts."""
        self.opened(worker)
        self.refusal = self.refusal or reason

    def ended(self, worker: _Worker) -> None:
        """A worker died; who takes its place opens what is decided by then."""
        self.opened(worker)
        if worker in self.workers:
            self.workers.remove(worker)
