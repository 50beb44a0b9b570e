"""Rows that are all known beforehand, split into batches of like length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The part of a batch's budget that padding may take. On two CPU cores a batch costs, besides its
# tokens, about as much as 40 tokens do in float32 and 100 in bfloat16, where the weights take as
# long to read and the products less: to pad more than that in order to save a batch is a loss.
PADDING_SHARE = 1 / 16


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split rows into batches: every index of `lengths` in exactly one, shortest rows first.

    Rows times the longest row of a batch stays within `batch_tokens` (a single longer row goes
    alone), and its padding within PADDING_SHARE of that, because rows of like length go together.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    real_tokens = 0
    for index in np.argsort(np.asarray(lengths), kind="stable").tolist():
        length = lengths[index]
        padded = (len(batch) + 1) * length
        padding = padded - real_tokens - length
        if batch and (padded > batch_tokens or padding > batch_tokens * PADDING_SHARE):
            batches.append(batch)
            batch, real_tokens = [], 0
        batch.append(index)
        real_tokens += length
    if batch:
        batches.append(batch)
    return batches
