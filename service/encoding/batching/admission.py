"""Whether a request is taken: tokens held by all requests, against one limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded

# How much of the throughput estimate the newest batch makes.
_THROUGHPUT_WEIGHT = 0.2


class TokenLedger:
    """Counts the tokens of accepted requests, and refuses what goes over `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.refused = 0
        # Tokens a second through the model; None until a batch has been measured.
        self.throughput: float | None = None

    @contextmanager
    def hold(self, tokens: int) -> Iterator[Callable[[int], None]]:
        """Hold `tokens` until the block ends, however it ends; yields a function to correct them.

        Raises Overloaded, at first or in a correction, where the limit would be passed.
        """
        held = 0

        def correct(tokens: int) -> None:
            nonlocal held
            if self.held - held + tokens > self.limit:
                self.refused += 1
                raise self._overloaded(tokens)
            self.held += tokens - held
            held = tokens

        correct(tokens)
        try:
            yield correct
        finally:
            self.held -= held

    def measured(self, tokens: int, seconds: float) -> None:
        """Take a finished batch into the throughput."""
        now = tokens / max(seconds, 1e-6)
        before = now if self.throughput is None else self.throughput
        self.throughput = before + _THROUGHPUT_WEIGHT * (now - before)

    def retry_after_s(self) -> int:
        """Whole seconds, at least one, until what is held now should be done."""
        if self.throughput is None:
            return 1
        return max(1, math.ceil(self.held / self.throughput))

    def _overloaded(self, tokens: int) -> Overloaded:
        wait_s = self.retry_after_s()
        return Overloaded(
            f"the queue holds {self.held} of at most {self.limit} tokens and this request needs "
            f"about {tokens}; send it again in {wait_s} s",
            retry_after_s=wait_s,
        )
