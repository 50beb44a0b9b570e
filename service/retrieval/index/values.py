"""What goes into an index and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, quote

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]
Bools = NDArray[np.bool_]

# The stored vectors of keys, (n, dim): the store's.
Fetch = Callable[[Keys], Floats]

Kind = Literal["flat", "hnsw", "ivf"]
Upkeep = Literal["absorb", "rebuild"]

KINDS: tuple[Kind, ...] = ("flat", "hnsw", "ivf")

# Neighbours that recall is counted over.
RECALL_AT = 10


@dataclass(frozen=True, slots=True)
class IndexWish:
    """What an index should be; the defaults leave the choice to measurement.

    `recall` is the least recall@10 against exact search that the audit accepts, `memory_bytes`
    bounds what the finished index holds, and `parameters` fixes those of the kind by name.
    Raises InvalidInput for values that no index can have.
    """

    kind: Literal["auto", "flat", "hnsw", "ivf"] = "auto"
    recall: float = 0.95
    memory_bytes: int | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("auto", *KINDS):
            raise InvalidInput(
                f"index.kind is {quote(self.kind)}; use auto, {', '.join(KINDS)}", "index.kind"
            )
        if not 0 < self.recall <= 1:
            raise InvalidInput(
                f"index.recall is {quote(self.recall)}; use a share above 0 and up to 1",
                "index.recall",
            )
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise InvalidInput(
                f"index.memory_bytes is {self.memory_bytes}; use a positive number, or none",
                "index.memory_bytes",
            )


@dataclass(frozen=True, slots=True)
class Hits:
    """The k nearest of each query, nearest first."""

    scores: Floats  # (queries, k) cosines, -inf where there are fewer
    keys: Keys  # (queries, k), -1 where there are fewer


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an index is, and what its audit found after it was built."""

    kind: Kind
    parameters: Mapping[str, int]
    size: int  # vectors that a search can find
    bytes: int  # memory that the index holds
    recall: float  # of the audit: recall@10 against exact search; 1 where search is exact
    filtered_recall: float  # the same under a filter
    audited_queries: int  # 0 where search is exact and nothing is sampled
    build_s: float
    when: str  # UTC, ISO 8601, when it was built
