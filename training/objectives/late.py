"""Late interaction: texts are compared by their tokens' vectors, not by one vector each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.objectives.contrastive import Direction
from training.objectives.cosine import exactly, unit

# Cosines of tokens held at a time: 16 MiB of float32.
_TILE_CELLS = 1 << 22


def maxsim(queries: Tensor, documents: Tensor, query_mask: Tensor, document_mask: Tensor) -> Tensor:
    """How well each query's tokens find a like one in each document: (queries, documents).

    S(q, d) = mean_{i in q} max_{j in d} cos(q_i, d_j) (FILIP, Yao et al., 2022; ColBERT, Khattab
    and Zaharia, 2020, adds up instead of the mean). `queries` is (n, a, dim), `documents`
    (m, b, dim), the masks bool (n, a) and (m, b). Token cosines are computed in tiles; what is held
    beside them is one index per query, document and query token. Raises ValueError where a text has
    no token.
    """
    if not (query_mask.any(1).all() and document_mask.any(1).all()):
        raise ValueError("a text has no token to compare; leave out texts whose mask is all false")
    queries, documents = unit(queries), unit(documents)
    of_a_pair = queries.shape[1] * documents.shape[1]
    columns = min(len(documents), max(1, _TILE_CELLS // of_a_pair))
    rows = max(1, _TILE_CELLS // (of_a_pair * columns))
    found = []
    for some in _tiles(len(queries), rows):
        scores = [
            _scores(queries[some], documents[few], query_mask[some], document_mask[few])
            for few in _tiles(len(documents), columns)
        ]
        found.append(torch.cat(scores, 1))
    return torch.cat(found)


def late_info_nce(
    english: Tensor,
    other: Tensor,
    english_mask: Tensor,
    other_mask: Tensor,
    temperature: float,
    direction: Direction = Direction.ONE_WAY,
) -> Tensor:
    """InfoNCE over late-interaction scores with in-batch negatives, a scalar.

    L = -(1/N) sum_i log( exp(S(en_i, xx_i)/T) / sum_k exp(S(en_i, xx_k)/T) ), S by `maxsim`.
    `SYMMETRIC` is the mean with the way back, whose scores are S(xx_i, en_k). `english` is
    (pairs, a, dim), `other` (pairs, b, dim), the masks bool (pairs, a) and (pairs, b). Raises
    ValueError where they are no pairs or a text has no token.
    """
    if len(english) != len(other):
        raise ValueError(f"{len(english)} and {len(other)} texts are no pairs")
    partner = torch.arange(len(english), device=english.device)
    scores = maxsim(english, other, english_mask, other_mask)
    forward = cross_entropy(scores / temperature, partner)
    if direction is Direction.ONE_WAY:
        return forward
    scores = maxsim(other, english, other_mask, english_mask)
    return (forward + cross_entropy(scores / temperature, partner)) / 2


def _tiles(texts: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, texts, size)]


def _scores(
    queries: Tensor, documents: Tensor, query_mask: Tensor, document_mask: Tensor
) -> Tensor:
    """One tile of `maxsim`, over unit rows."""
    with exactly(queries):
        flat = queries.flatten(0, 1) @ documents.flatten(0, 1).T
    near = flat.view(*queries.shape[:2], *documents.shape[:2])  # (n, a, m, b)
    best = near.masked_fill(~document_mask, -torch.inf).max(3).values
    best = best * query_mask.unsqueeze(2)
    return best.sum(1) / query_mask.sum(1, keepdim=True)
