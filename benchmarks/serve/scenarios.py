"""What is asked of every contestant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from benchmarks import texts
from benchmarks.serve.connection import Request
from benchmarks.serve.contestants import Dialect, Encoding
from benchmarks.texts import Kind

# Distinct requests of one scenario, and at least so many of 32 texts: no server sees a text twice
# within a short while, so none gains by remembering.
_POOL_TEXTS = 4_096


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clients that send texts of one kind, or requests that arrive at a rate."""

    kind: Kind
    texts: int
    # Closed loop: so many clients, each waiting for its answer.
    clients: int = 0
    # Open loop: so many requests a second, whatever is answered.
    rate_per_s: float | None = None

    @property
    def name(self) -> str:
        """Such as `phrase, 64 clients × 1 text` or `phrase, 100 requests/s × 1 text`."""
        if self.rate_per_s is None:
            load = f"{self.clients} client{'s' * (self.clients > 1)}"
        else:
            load = f"{self.rate_per_s:g} requests/s"
        return f"{self.kind}, {load} × {self.texts} text{'s' * (self.texts > 1)}"

    def batches(self, words: Sequence[str], seed: int) -> list[list[str]]:
        """The texts of each request, the same for every contestant."""
        count = max(_POOL_TEXTS, self.texts)
        pool = texts.make(words, self.kind, count, seed)
        return [pool[at : at + self.texts] for at in range(0, count - self.texts + 1, self.texts)]


def requests(
    batches: Sequence[Sequence[str]], dialect: Dialect, encoding: Encoding
) -> list[Request]:
    """The batches as bytes for one server."""
    return [Request(dialect.request(batch, encoding), len(batch)) for batch in batches]


KINDS = (Kind.PHRASE, Kind.SENTENCE, Kind.PARAGRAPH, Kind.MIX)
SHAPES = ((1, 1), (16, 1), (64, 1), (1, 32), (8, 32))
CLOSED = tuple(Scenario(kind, size, clients) for kind, (clients, size) in product(KINDS, SHAPES))
# What a check of a minute asks.
QUICK = (Scenario(Kind.PHRASE, 1, 1), Scenario(Kind.MIX, 1, 64), Scenario(Kind.SENTENCE, 32, 8))


def open_scenarios(kinds: Sequence[Kind], rates: Sequence[float]) -> tuple[Scenario, ...]:
    """Single texts that arrive at each rate."""
    return tuple(Scenario(kind, 1, rate_per_s=rate) for kind, rate in product(kinds, rates))
