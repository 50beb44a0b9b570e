"""Exact search over rows in memory: of small collections, of new vectors, and of audits."""

from __future__ import annotations

import numpy as np

from service.faiss_library import faiss
from service.retrieval.index.values import Bools, Floats, Keys

# From this many queries on, copying what the mask lets through and multiplying beats testing the
# mask row by row for every query.
_PRODUCT_QUERIES = 8
# Rows copied at a time: 25 MB of 384 dimensions.
_BLOCK_ROWS = 16_384
# From so many times as many candidates as are wanted on, parting them before they are sorted is
# faster than sorting all.
_SORTED = 8


def nearest(queries: Floats, rows: Floats, k: int, mask: Bools | None) -> tuple[Floats, Keys]:
    """The k best rows of each query where `mask` (rows,) is true, all where it is None.

    Arrays are C-contiguous. Returns cosines (queries, k), falling, and row numbers; -inf and -1
    where there are fewer. Computes in as many threads as the caller gave FAISS.
    """
    if mask is None:
        return _search(queries, rows, k, None)
    if len(queries) < _PRODUCT_QUERIES:
        # Its memory must outlive the call: the selector only points there.
        bits = np.packbits(mask, bitorder="little")
        return _search(queries, rows, k, faiss.IDSelectorBitmap(bits))
    scores, numbers = empty(len(queries), k)
    for start in range(0, len(rows), _BLOCK_ROWS):
        kept = np.flatnonzero(mask[start : start + _BLOCK_ROWS]) + start
        block_scores, found = _search(queries, rows[kept], k, None)
        scores, numbers = merged((scores, numbers), (block_scores, at(kept, found)), k)
    return scores, numbers


def at(numbers: Keys, places: Keys) -> Keys:
    """`numbers` at `places`, -1 where the place is -1."""
    if not len(numbers):
        return np.full(places.shape, -1, np.int64)
    # The last one is looked up for -1 and thrown away.
    return np.where(places >= 0, numbers[places], -1)


def empty(queries: int, k: int) -> tuple[Floats, Keys]:
    """No hits: (queries, k) of -inf and of -1."""
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)


def merged(ones: tuple[Floats, Keys], others: tuple[Floats, Keys], k: int) -> tuple[Floats, Keys]:
    """The k best of two lists of hits for the same queries."""
    return best(
        np.concatenate([ones[0], others[0]], axis=1),
        np.concatenate([ones[1], others[1]], axis=1),
        k,
    )


def best(scores: Floats, numbers: Keys, k: int) -> tuple[Floats, Keys]:
    """The k best of each row of `scores` (n, m) with their `numbers`, best first, padded to k."""
    n, m = scores.shape
    if m < k:
        more_scores, more_numbers = empty(n, k - m)
        scores = np.concatenate([scores, more_scores], axis=1)
        numbers = np.concatenate([numbers, more_numbers], axis=1)
    rows = np.arange(n)[:, None]
    if m > _SORTED * k:
        # In their order, so that of equals the first stays the first.
        chosen = np.sort(np.argpartition(-scores, k, axis=1)[:, :k], axis=1)
        scores, numbers = scores[rows, chosen], numbers[rows, chosen]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return scores[rows, order], numbers[rows, order]


def _search(queries: Floats, rows: Floats, k: int, selector: object) -> tuple[Floats, Keys]:
    scores, numbers = empty(len(queries), k)
    if len(queries) and len(rows):
        faiss.knn_inner_product(
            faiss.swig_ptr(queries),
            faiss.swig_ptr(rows),
            rows.shape[1],
            len(queries),
            len(rows),
            k,
            faiss.swig_ptr(scores),
            faiss.swig_ptr(numbers),
            selector,
        )
        # FAISS fills up with the lowest float.
        scores[numbers < 0] = -np.inf
    return scores, numbers
