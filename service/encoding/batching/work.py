"""The two things that go through a `Batcher`: what a caller awaits, and what the model runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from service.encoding.batching.lane import Entry, Lane
from service.encoding.session import Vectors
from service.encoding.tokenizer import Row


@dataclass(slots=True, eq=False)
class Answer:
    """What one caller of `submit` awaits, and its vectors as far as they have come."""

    future: asyncio.Future[Vectors]
    rows: int
    missing: int = field(init=False)
    vectors: Vectors | None = None  # (rows, dimension)

    def __post_init__(self) -> None:
        self.missing = self.rows

    def put(self, places: list[int], vectors: Vectors) -> None:
        """Take `vectors`, (len(places), dimension), for these places, each of them once.

        Of rows whose states are wanted: an array of arrays, (len(places),).
        """
        if vectors.dtype == object and vectors[0].ndim == 1:
            vectors = np.stack(list(vectors))  # of a batch in which others wanted states
        if self.vectors is None:
            self.vectors = np.empty((self.rows, *vectors.shape[1:]), vectors.dtype)
        self.vectors[places] = vectors
        self.missing -= len(places)
        if not self.missing and not self.future.done():
            self.future.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        """End in `error`, unless it has ended already."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Formed:
    """A batch that the model is to run, and, once the rows are padded, what runs it."""

    entries: list[Entry]
    run: Callable[[], Vectors] | None = None
    # Whether a more urgent batch has gone before it: once is the most.
    passed: bool = False

    @property
    def lane(self) -> Lane:
        """The lane that all its rows come from."""
        return self.entries[0].lane

    @property
    def rows(self) -> list[Row]:
        """Its rows, in the order of its vectors."""
        return [entry.row for entry in self.entries]
