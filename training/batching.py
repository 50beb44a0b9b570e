"""Put texts of like length together, so that little is computed on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def of_like_length(
    indices: Sequence[int], lengths: Sequence[int], most_tokens: int
) -> Iterator[list[int]]:
    """Part `indices`, which rise in length, into batches of at most `most_tokens` padded tokens; a
    longer text stands alone."""
    batch: list[int] = []
    for index in indices:  # the newest row is the widest
        if batch and (len(batch) + 1) * lengths[index] > most_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def places(order: Sequence[int]) -> Tensor:
    """Where each index stands in `order`, int64: `rows[order][places(order)]` is `rows`."""
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(order))
    return place
