"""Hard negatives from vectors: near texts that are not so near as to be translations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.objectives.cosine import cosines, unit

# Cosines held at a time: 256 x 16,384 of float32 are 16 MiB.
_TILE_ROWS = 256
_TILE_COLUMNS = 16_384


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """The nearest wrong targets of each query, the nearest first."""

    indices: Tensor  # int64 (queries, k), into the targets; -1 where there were no more
    scores: Tensor  # their cosines (queries, k); -inf where there were no more

    @property
    def found(self) -> Tensor:
        """Where there is a negative: bool (queries, k)."""
        return self.indices >= 0


def hard_negatives(
    queries: Tensor, targets: Tensor, partner: Tensor, k: int, share: float = 0.95
) -> HardNegatives:
    """The `k` targets nearest to each query by cosine that are neither its partner nor likely to
    mean the same.

    Left out is every target at `share` of the partner's cosine or nearer, so every copy of the
    partner as well (TopK-PercPos, 95 %; NV-Retriever, Moreira et al., 2024). `queries` is (n, dim),
    `targets` (m, dim), `partner` int64 (n,): the row of each query's translation. Exact, without
    gradient, in O(n·m) time and the memory of one tile of cosines. Raises ValueError where `k`,
    `share` or the shapes make no sense.
    """
    if k < 1 or not 0 < share < 1:
        raise ValueError(f"k is {k} and share {share}; use k of 1 or more, and 0 < share < 1")
    if partner.shape != queries.shape[:1]:
        raise ValueError(f"{len(queries)} queries need a partner each, not {tuple(partner.shape)}")
    indices, scores = [], []
    with torch.no_grad():
        targets = unit(targets)
        for rows in torch.split(torch.arange(len(queries), device=queries.device), _TILE_ROWS):
            found = _nearest(unit(queries[rows]), targets, partner[rows], k, share)
            indices.append(found.indices)
            scores.append(found.scores)
        if not indices:
            return HardNegatives(partner.new_empty(0, k), targets.new_empty(0, k))
        return HardNegatives(torch.cat(indices), torch.cat(scores))


def _nearest(
    queries: Tensor, targets: Tensor, partner: Tensor, k: int, share: float
) -> HardNegatives:
    """The same for one tile's rows."""
    own = (queries * targets[partner]).sum(1, keepdim=True)
    # A share of a cosine below 0 would lie above it: go down by as much instead.
    limit = own - (1 - share) * own.abs()
    best = queries.new_full((len(queries), k), -torch.inf)
    places = partner.new_full((len(queries), k), -1)
    for start in range(0, len(targets), _TILE_COLUMNS):
        tile = cosines(queries, targets[start : start + _TILE_COLUMNS])
        columns = torch.arange(start, start + tile.shape[1], device=tile.device)
        tile = tile.masked_fill((tile >= limit) | (columns == partner[:, None]), -torch.inf)
        score, column = tile.topk(min(k, tile.shape[1]), dim=1)
        candidates = torch.cat([best, score], 1)
        numbers = torch.cat([places, columns[column]], 1)
        best, chosen = candidates.topk(k, dim=1)
        places = numbers.gather(1, chosen)
    return HardNegatives(places.masked_fill(best == -torch.inf, -1), best)
