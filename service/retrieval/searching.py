"""From the vectors of queries to ranked documents: filters, scores, languages in balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, NotComparable
from service.retrieval.filters import EVERYTHING, Condition
from service.retrieval.index import Hits, Index
from service.retrieval.indexes import Indexes
from service.retrieval.store import View
from service.retrieval.values import (
    SCORE_DECIMALS,
    Cancel,
    Floats,
    Found,
    Keys,
    Named,
    Score,
    Space,
)

# Neighbours that the density around a text is the mean of: the 10 of Conneau et al. (2018).
NEIGHBOURS = 10

# CSLS looks at so many times the results asked for, within these numbers.
_CANDIDATES = 10
_LEAST_CANDIDATES = 100
# And at no more candidates in one request: each is read and compared with every query.
MAX_CANDIDATES = 250_000

# Results of one request.
MAX_RESULTS = 100_000

# Languages that results are balanced over at most: each is a search of its own.
MAX_BALANCED = 64

# Queries between two looks at whether the search is still wanted.
_BLOCK_QUERIES = 64

# Documents whose densities are measured at a time.
_BLOCK_DOCUMENTS = 4_096


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


# Spaces by number, each with the keys that may be found in it; None for all of them.
_Group = dict[int, Keys | None]


@dataclass(frozen=True, slots=True)
class Search:
    """One request's search of a collection at one moment."""

    view: View
    indexes: Indexes
    cancel: Cancel

    def run(self, query: Query, vectors: Mapping[int, Floats]) -> list[list[Found]] | None:
        """The documents found for each query; None where the store moved on meanwhile.

        `vectors` (queries, dimensions) are those of the queries for each space. Raises
        NotComparable where documents that may be found are in another space.
        """
        return self._found(query, self._ranked(query, vectors))

    def named(self, query: Query, vectors: Mapping[int, Floats]) -> list[Named] | None:
        """The same, of which only the ids are told."""
        ranked = self._ranked(query, vectors)
        there = ranked.keys >= 0
        ids = self.view.ids(ranked.keys[there].tolist())
        if ids is None:
            return None
        stops = np.cumsum(there.sum(axis=1)).tolist()
        return [
            Named(ids[start:stop], scores[: stop - start])
            for start, stop, scores in zip([0, *stops], stops, ranked.scores.tolist(), strict=False)
        ]

    def _ranked(self, query: Query, vectors: Mapping[int, Floats]) -> Hits:
        """The best for each query, best first; of equals, what was written first."""
        groups = self._groups(query)
        for group in groups:
            _check_comparable(group, vectors, self.indexes.spaces)
        _check_cost(query, query.queries * max(1, len(groups)))
        by_group = [self._rank(query, vectors, group) for group in groups]
        return _balanced(by_group, query.top_k) if query.balance else by_group[0]

    def _groups(self, query: Query) -> list[_Group]:
        """What may be found: in one group, or in one for each language."""
        if query.condition == EVERYTHING and not query.balance:
            return [dict.fromkeys(self.indexes.spaces)]
        matching = self.view.matching(query.condition)
        if not query.balance:
            return [
                {space: np.concatenate(list(keys.values())) for space, keys in matching.items()}
            ]
        if not matching:
            return [{}]
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

    def _rank(self, query: Query, vectors: Mapping[int, Floats], group: _Group) -> Hits:
        """The best of a group for each query, whatever space they are in."""
        none = (query.queries, 0)
        scores, keys = [np.empty(none, np.float32)], [np.empty(none, np.int64)]
        for space, allowed in group.items():
            hits = self._nearest(query, self.indexes.of(space), vectors[space], allowed)
            scores.append(
                self._csls(hits, vectors[space]) if query.score == "csls" else hits.scores
            )
            keys.append(hits.keys)
        hits = Hits(np.concatenate(scores, axis=1), np.concatenate(keys, axis=1))
        if query.min_score is not None:
            # A score that is told in so many decimals passes as it is told.
            low = hits.scores < np.float64(query.min_score) - 0.5 * 10**-SCORE_DECIMALS
            hits = Hits(np.where(low, -np.inf, hits.scores), np.where(low, -1, hits.keys))
        return _sorted(hits, query.top_k)

    def _nearest(self, query: Query, index: Index, vectors: Floats, allowed: Keys | None) -> Hits:
        """What an index finds for all queries, looking up in between whether it is still wanted."""
        blocks = []
        for start in range(0, len(vectors), _BLOCK_QUERIES):
            self.cancel.check()
            block = vectors[start : start + _BLOCK_QUERIES]
            blocks.append(index.search(block, query.candidates, allowed=allowed))
        return Hits(
            np.concatenate([hits.scores for hits in blocks]),
            np.concatenate([hits.keys for hits in blocks]),
        )

    def _csls(self, hits: Hits, vectors: Floats) -> Floats:
        """2 cos − density around the query − density around the document (Conneau et al., 2018).

        The density around a query is its mean cosine with the nearest documents that may be found,
        that around a document its mean cosine with the nearest queries of the request: a document
        that is near to many of them is a hub, and says little. Of one query the ranking is that of
        the cosine.
        """
        there = hits.keys >= 0
        distinct = np.unique(hits.keys[there])
        if not len(distinct):
            return hits.scores
        around_documents = np.concatenate(
            [
                self._density(distinct[start : start + _BLOCK_DOCUMENTS], vectors)
                for start in range(0, len(distinct), _BLOCK_DOCUMENTS)
            ]
        )
        places = np.searchsorted(distinct, np.maximum(hits.keys, distinct[0]))
        near = np.where(there, hits.scores, 0)[:, :NEIGHBOURS].sum(axis=1)
        around_queries = near / np.maximum(there[:, :NEIGHBOURS].sum(axis=1), 1)
        scores: Floats = 2 * hits.scores - around_queries[:, None] - around_documents[places]
        return scores

    def _density(self, keys: Keys, queries: Floats) -> Floats:
        """The mean cosine of documents with the nearest of `queries`: (keys,)."""
        self.cancel.check()
        # Not a number where a document is gone: then all is read anew.
        cosines = self.view.vectors(keys) @ queries.T
        first = max(0, cosines.shape[1] - NEIGHBOURS)
        density: Floats = np.partition(cosines, first, axis=1)[:, first:].mean(axis=1)
        return density

    def _found(self, query: Query, ranked: Hits) -> list[list[Found]] | None:
        distinct = np.unique(ranked.keys[ranked.keys >= 0])
        documents = self.view.by_keys(distinct.tolist())
        if len(documents) != len(distinct):
            return None
        vectors = self.view.vectors(distinct) if query.with_vectors else None
        place = {key: number for number, key in enumerate(distinct.tolist())}
        return [
            [
                Found(documents[key], score, None if vectors is None else vectors[place[key]])
                for score, key in zip(scores, keys, strict=True)
                if key >= 0
            ]
            for scores, keys in zip(ranked.scores.tolist(), ranked.keys.tolist(), strict=True)
        ]


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


def _sorted(hits: Hits, top_k: int, *, turns: Keys | None = None) -> Hits:
    """The best `top_k` of each query, those of the earliest of `turns` (m,) first where given."""
    by: list[NDArray[Any]] = [hits.keys, -hits.scores]  # the last decides first
    if turns is not None:
        by.append(np.where(hits.keys >= 0, turns, len(turns)))
    order = np.lexsort(by, axis=1)[:, :top_k]
    return Hits(
        np.take_along_axis(hits.scores, order, axis=1), np.take_along_axis(hits.keys, order, axis=1)
    )


def _balanced(of_languages: Sequence[Hits], top_k: int) -> Hits:
    """`top_k` of several rankings in turn, the best of each first; then sorted by score."""
    turns = np.concatenate([np.arange(each.keys.shape[1]) for each in of_languages])
    hits = Hits(
        np.concatenate([each.scores for each in of_languages], axis=1),
        np.concatenate([each.keys for each in of_languages], axis=1),
    )
    return _sorted(_sorted(hits, top_k, turns=turns), top_k)
