"""How much of what exact search finds an approximate index finds, measured on its own vectors.

Queries are vectors of the collection, and what is to be found are the RECALL_AT others that are
nearest. A hit counts by its exact cosine, so that among equals any will do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from service.faiss_library import threads
from service.retrieval.index import exact
from service.retrieval.index.design import Effort, Efforts
from service.retrieval.index.kept import Kept
from service.retrieval.index.searching import Main
from service.retrieval.index.structure import Structure
from service.retrieval.index.values import RECALL_AT, Floats, Keys

# Share of the vectors that the filter of an audit lets through.
FILTERED_SHARE = 0.1
BATCH = 64
# float32 sums in another order differ by less.
_SAME = 1e-5


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries and the cosine that a right hit has at least."""

    vectors: Floats  # (n, dim) all vectors, by row
    rows: Keys  # (queries,) the queries among them
    floors: Floats  # (queries,)
    wanted: int  # hits of each query
    allowed: Keys | None  # rows that a filter lets through

    @property
    def queries(self) -> Floats:
        """The queries themselves, (queries, dim)."""
        return np.ascontiguousarray(self.vectors[self.rows])


def sample(
    vectors: Floats, count: int, seed: int, *, filtered: bool = False, on: int = 1
) -> Sample:
    """At most `count` queries out of `vectors` (n, dim), n of at least 2, answered exactly.

    With `filtered` only a random share of the vectors is allowed. Computed on `on` threads.
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(vectors), min(count, len(vectors)), replace=False)
    queries = np.ascontiguousarray(vectors[rows])
    mask = None
    if filtered:
        mask = rng.random(len(vectors)) < FILTERED_SHARE
        # The nearest other vector of the first query is always there to be found.
        mask[rows[:2]] = True
    with threads(on):
        scores, numbers = exact.nearest(queries, vectors, RECALL_AT + 1, mask)
    scores[numbers == rows[:, None]] = -np.inf
    scores = -np.sort(-scores, axis=1)[:, :RECALL_AT]
    findable = len(vectors) if mask is None else int(mask.sum())
    wanted = min(RECALL_AT, findable - 1)
    allowed = None if mask is None else np.flatnonzero(mask)
    return Sample(vectors, rows, scores[:, wanted - 1], wanted, allowed)


def recall(structure: Structure, effort: Effort, of: Sample, *, at_hand: bool = False) -> float:
    """The share of right hits that the structure, built of the sample's vectors, finds."""
    return measured(structure, effort, of, at_hand=at_hand)[0]


def measured(
    structure: Structure, effort: Effort, of: Sample, *, at_hand: bool = False
) -> tuple[float, float]:
    """Recall, and seconds for a query in batches, exact re-ranking included.

    With `at_hand` as where all vectors lie in memory. Seconds of this thread's work, which what
    else runs on the machine does not stretch.
    """
    index, numbers = structure.faiss_index, np.arange(len(structure))
    same = Structure.of(structure.design, index, numbers, len(structure))
    main = Main.of(same, Efforts.same(effort), Kept.of(of.vectors), at_hand=at_hand)
    queries, found, spent = of.queries, 0, 0.0
    for start in range(0, len(queries), BATCH):
        some = slice(start, start + BATCH)
        began = time.thread_time()
        scores, rows = main.search(queries[some], RECALL_AT + 1, of.allowed, of.vectors.__getitem__)
        spent += time.thread_time() - began
        right = (scores >= of.floors[some, None] - _SAME) & (rows != of.rows[some, None])
        found += int(np.minimum(right.sum(axis=1), of.wanted).sum())
    return found / (len(queries) * of.wanted), spent / len(queries)
