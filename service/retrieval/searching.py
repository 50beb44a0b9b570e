"""From the vectors of queries to ranked documents: filters, scores, languages in balance."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import InvalidInput, NotComparable
from service.retrieval.filters import EVERYTHING, Condition
from service.retrieval.index import Hits, Index
from service.retrieval.indexes import Indexes
from service.retrieval.store import View
from service.retrieval.values import Cancel, Floats, Found, Keys, Score, Space

# Neighbours that the density around a text is the mean of: the 10 of Conneau et al. (2018).
NEIGHBOURS = 10

# CSLS looks at so many times the results asked for, within these numbers.
_CANDIDATES = 10
_LEAST_CANDIDATES = 100
# And at no more candidates in one request, since each may cost a search of its own.
MAX_CANDIDATES = 50_000

# Results of one request.
MAX_RESULTS = 100_000

# Languages that results are balanced over at most: each is a search of its own.
MAX_BALANCED = 64

# Queries between two looks at whether the search is still wanted.
_BLOCK_QUERIES = 32

# Densities that are remembered until the collection changes.
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a collection, beside the vectors."""

    queries: int  # how many there are
    top_k: int = 10
    condition: Condition = EVERYTHING
    score: Score = "cosine"
    min_score: float | None = None
    balance: bool = False
    with_vectors: bool = False

    @property
    def candidates(self) -> int:
        """How many of the nearest are looked at."""
        if self.score == "cosine":
            return self.top_k
        return max(self.top_k, _LEAST_CANDIDATES, min(_CANDIDATES * self.top_k, 1_000))


@dataclass(frozen=True, slots=True)
class Ranked:
    """Scores (n,), best first, with the keys of the documents."""

    scores: Floats
    keys: Keys


# Spaces by number, each with the keys that may be found in it; None for all of them.
_Group = dict[int, Keys | None]


class Densities:
    """The mean cosine of documents with their nearest neighbours, remembered while it holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = -1
        self._known: dict[int, float] = {}

    def of(self, keys: Keys, index: Index, view: View, sequence: int) -> Floats:
        """The densities of distinct `keys` (n,), of one space, at a sequence number."""
        with self._lock:
            if self._sequence != sequence or len(self._known) > _REMEMBERED:
                self._sequence, self._known = sequence, {}
            known = dict(self._known)
        missing = np.array([key for key in keys.tolist() if key not in known], np.int64)
        if len(missing):
            found = dict(zip(missing.tolist(), _densities(missing, index, view), strict=True))
            known |= found
            with self._lock:
                if self._sequence == sequence:
                    self._known |= found
        return np.array([known[key] for key in keys.tolist()], np.float32)


def _densities(keys: Keys, index: Index, view: View) -> list[float]:
    vectors = view.vectors(keys)
    # One more, since the nearest of a document is itself.
    hits = index.search(vectors, NEIGHBOURS + 1)
    others = (hits.keys >= 0) & (hits.keys != keys[:, None])
    # Where copies crowd a document out of its own neighbours, the last is one too many.
    others[others.sum(axis=1) > NEIGHBOURS, -1] = False
    counts = np.maximum(others.sum(axis=1), 1)
    means: list[float] = (np.where(others, hits.scores, 0).sum(axis=1) / counts).tolist()
    return means


@dataclass(frozen=True, slots=True)
class Search:
    """One request's search of a collection at one moment."""

    view: View
    indexes: Indexes
    densities: Densities
    sequence: int
    cancel: Cancel

    def run(self, query: Query, vectors: Mapping[int, Floats]) -> list[list[Found]] | None:
        """The documents found for each query; None where the store moved on meanwhile.

        `vectors` (queries, dimensions) are those of the queries for each space. Raises
        NotComparable where documents that may be found are in another space.
        """
        groups = self._groups(query)
        for group in groups:
            _check_comparable(group, vectors, self.indexes.spaces)
        _check_cost(query, query.queries * max(1, len(groups)))
        ranked = [
            each
            for block in _blocks(query.queries)
            for each in self._block(query, vectors, groups, block)
        ]
        return self._found(query, ranked)

    def _groups(self, query: Query) -> list[_Group]:
        """What may be found: in one group, or in one for each language."""
        if query.condition == EVERYTHING and not query.balance:
            return [dict.fromkeys(self.indexes.spaces)]
        matching = self.view.matching(query.condition)
        if not query.balance:
            return [
                {space: np.concatenate(list(keys.values())) for space, keys in matching.items()}
            ]
        languages = sorted({language for keys in matching.values() for language in keys})
        if len(languages) > MAX_BALANCED:
            raise InvalidInput(
                f"balance is true over {len(languages)} languages; name at most {MAX_BALANCED} in "
                "languages",
                "balance",
            )
        return [
            {space: keys[language] for space, keys in matching.items() if language in keys}
            for language in languages
        ]

    def _block(
        self,
        query: Query,
        vectors: Mapping[int, Floats],
        groups: Sequence[_Group],
        block: slice,
    ) -> Iterator[Ranked]:
        by_group = [self._rank(query, vectors, group, block) for group in groups]
        for each in zip(*by_group, strict=True):
            yield _balanced(each, query.top_k) if query.balance else each[0]

    def _rank(
        self, query: Query, vectors: Mapping[int, Floats], group: _Group, block: slice
    ) -> list[Ranked]:
        """The best of a group for each query of a block, whatever space they are in."""
        scores, keys = [], []
        for space, allowed in group.items():
            self.cancel.check()
            index = self.indexes.of(space)
            hits = index.search(vectors[space][block], query.candidates, allowed=allowed)
            scores.append(self._csls(hits, index) if query.score == "csls" else hits.scores)
            keys.append(hits.keys)
        if not scores:
            none = Ranked(np.empty(0, np.float32), np.empty(0, np.int64))
            return [none] * (block.stop - block.start)
        return [
            _best(row, found, query)
            for row, found in zip(
                np.concatenate(scores, axis=1), np.concatenate(keys, axis=1), strict=True
            )
        ]

    def _csls(self, hits: Hits, index: Index) -> Floats:
        """2 cos − density around the query − density around the document (Conneau et al., 2018).

        The density around a document is that among the documents: who asks is not known before.
        """
        distinct = np.unique(hits.keys[hits.keys >= 0])
        if not len(distinct):
            return hits.scores
        densities = []
        for start in range(0, len(distinct), 1_000):
            self.cancel.check()
            some = distinct[start : start + 1_000]
            densities.append(self.densities.of(some, index, self.view, self.sequence))
        places = np.searchsorted(distinct, np.maximum(hits.keys, distinct[0]))
        around_documents = np.concatenate(densities)[places]
        near = hits.scores[:, :NEIGHBOURS]
        there = hits.keys[:, :NEIGHBOURS] >= 0
        around_queries = np.where(there, near, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        scores: Floats = 2 * hits.scores - around_queries[:, None] - around_documents
        return scores

    def _found(self, query: Query, ranked: Sequence[Ranked]) -> list[list[Found]] | None:
        distinct = np.unique(np.concatenate([each.keys for each in ranked])) if ranked else None
        if distinct is None:
            return []
        documents = self.view.by_keys(distinct.tolist())
        if len(documents) != len(distinct):
            return None
        vectors = self.view.vectors(distinct) if query.with_vectors else None
        place = {key: number for number, key in enumerate(distinct.tolist())}
        return [
            [
                Found(
                    documents[key], float(score), None if vectors is None else vectors[place[key]]
                )
                for score, key in zip(each.scores, each.keys.tolist(), strict=True)
            ]
            for each in ranked
        ]


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _BLOCK_QUERIES):
        yield slice(start, min(start + _BLOCK_QUERIES, count))


def _check_comparable(
    group: _Group, vectors: Mapping[int, Floats], spaces: Mapping[int, Space]
) -> None:
    if others := [spaces[number] for number in group if number not in vectors]:
        raise NotComparable(
            f"the search covers vectors of {others[0]}, which the queries do not compare with; "
            "narrow it with filter, leave granularity at auto, name the adapter of vectors, or, "
            "where the bundle has changed, embed the texts anew with POST …/rebuild "
            '{"embed": true}'
        )


def _check_cost(query: Query, searches: int) -> None:
    if query.queries * query.top_k > MAX_RESULTS:
        raise InvalidInput(
            f"{query.queries} queries with top_k {query.top_k} are more than {MAX_RESULTS} "
            "results; send fewer queries at a time, or a smaller top_k",
            "top_k",
        )
    if query.score == "csls" and searches * query.candidates > MAX_CANDIDATES:
        raise InvalidInput(
            f"csls would look at {searches * query.candidates} candidates, {query.candidates} for "
            f"each of the queries (and languages in balance); {MAX_CANDIDATES} are allowed: send "
            "fewer queries at a time, or a smaller top_k",
            "score",
        )


def _best(scores: Floats, keys: Keys, query: Query) -> Ranked:
    kept = keys >= 0
    if query.min_score is not None:
        kept &= scores >= query.min_score
    scores, keys = scores[kept], keys[kept]
    order = np.lexsort((keys, -scores))[: query.top_k]
    return Ranked(scores[order], keys[order])


def _balanced(of_languages: Sequence[Ranked], top_k: int) -> Ranked:
    """`top_k` of several rankings in turn, the best of each first; then sorted by score."""
    scores = np.concatenate([each.scores for each in of_languages])
    keys = np.concatenate([each.keys for each in of_languages])
    turns = np.concatenate([np.arange(len(each.keys)) for each in of_languages])
    taken = np.lexsort((keys, -scores, turns))[:top_k]
    order = taken[np.lexsort((keys[taken], -scores[taken]))]
    return Ranked(scores[order], keys[order])
