"""What the queue and the model have done so far, for those who watch the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment; totals count from the start of the process."""

    # Waiting for a batch now.
    queued_rows: int = 0
    queued_tokens: int = 0
    # Tokens of all requests accepted and not yet answered, and of that the most allowed.
    held_tokens: int = 0
    limit_tokens: int = 0
    # Tokens a second through the model lately; None before the first batch.
    tokens_per_s: float | None = None
    # Requests refused because the queue was full.
    refused_requests: int = 0
    # Batches that ran, those that failed included, and what was in them.
    batches: int = 0
    failed_batches: int = 0
    rows: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    # Seconds that batches took, and that their rows waited before, added up over rows.
    model_s: float = 0.0
    waited_s: float = 0.0
    # Rows that took the vector of an equal row on its way, or kept from before.
    joined_rows: int = 0
    cached_rows: int = 0
    # Rows whose callers gave up before the model saw them.
    dropped_rows: int = 0

    @property
    def rows_per_batch(self) -> float:
        """How full batches are, on average."""
        return self.rows / self.batches if self.batches else 0.0

    @property
    def padding_share(self) -> float:
        """The part of what the model read that was padding, 0 to 1."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    @property
    def mean_wait_s(self) -> float:
        """How long a row waited for its batch, on average."""
        return self.waited_s / self.rows if self.rows else 0.0

    def after(
        self, lengths: Sequence[int], waits: Sequence[float], seconds: float, *, failed: bool
    ) -> QueueState:
        """With one more batch: the tokens of its rows, and the seconds that each waited."""
        return replace(
            self,
            batches=self.batches + 1,
            failed_batches=self.failed_batches + failed,
            rows=self.rows + len(lengths),
            tokens=self.tokens + sum(lengths),
            padded_tokens=self.padded_tokens + max(lengths) * len(lengths),
            model_s=self.model_s + seconds,
            waited_s=self.waited_s + sum(waits),
        )
