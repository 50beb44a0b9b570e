"""Prepare the next step's batch in a thread while this one's is computed on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Ahead(Generic[Value]):
    """`make(step)` for steps in rising order below `end`, each made while the last is in use.

    `make` runs in one other thread: what it uses must not be used elsewhere meanwhile.
    """

    def __init__(self, make: Callable[[int], Value], end: int) -> None:
        self._make, self._end = make, end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[Value]] | None = None

    def __call__(self, step: int) -> Value:
        """The value for `step`; raises what `make` raised for it."""
        if self._next is not None and self._next[0] == step:
            future = self._next[1]
        else:
            future = self._thread.submit(self._make, step)
        value = future.result()
        self._next = None
        if step + 1 < self._end:
            self._next = step + 1, self._thread.submit(self._make, step + 1)
        else:
            self._thread.shutdown(wait=False)
        return value
