"""Hard contrast: a text's partner has to stand out from texts that are not its partner.

What differs is where the others come from: the batch (`info_nce`, `nt_xent`), a queue of earlier
batches (`momentum_contrast`) or a miner (`ranking_with_hard_negatives`).
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.objectives.cosine import check_pairs, cosines, exactly, unit


class Direction(StrEnum):
    """Which side looks for its partner among the other's."""

    ONE_WAY = "one-way"
    SYMMETRIC = "symmetric"


def info_nce(
    english: Tensor,
    other: Tensor,
    temperature: float,
    direction: Direction = Direction.ONE_WAY,
    margin: float = 0.0,
) -> Tensor:
    """InfoNCE over cosines with in-batch negatives, a scalar.

    L = -(1/N) sum_i log( exp(cos(en_i, xx_i)/T) / sum_k exp(cos(en_i, xx_k)/T) ), from English to
    the other language as in GranCATs (Liu et al., CIKM 2023); `SYMMETRIC` adds the way back and
    halves the sum. `margin` is taken off cos(en_i, xx_i) wherever it stands, so that a partner has
    to be nearer than the others by that much (additive margin softmax, 0.3 in LaBSE; Yang et al.,
    2019; Feng et al., 2022). `english` and `other` are (pairs, dim), row i of one translating row
    i of the other. Raises ValueError where they are no pairs.

    It holds matrices of (pairs, pairs); `chunked.chunked_info_nce` computes the same without.
    """
    check_pairs(english, other)
    similarities = cosines(english, other)
    if margin:
        similarities = similarities - margin * torch.eye(
            len(english), dtype=similarities.dtype, device=similarities.device
        )
    logits = similarities / temperature
    partner = torch.arange(len(logits), device=logits.device)
    forward = cross_entropy(logits, partner)
    if direction is Direction.ONE_WAY:
        return forward
    return (forward + cross_entropy(logits.T, partner)) / 2


def nt_xent(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """InfoNCE in which both sides' other texts are negatives, a scalar.

    With z = left and right, one after the other, and p(i) the partner of i,
    L = -(1/2N) sum_i log( exp(cos(z_i, z_p(i))/T) / sum_{k != i} exp(cos(z_i, z_k)/T) ) (SimCLR,
    Chen et al., 2020). TransliCo (Liu et al., 2024) contrasts a text and its romanisation so, at
    half the main loss's weight. `left` and `right` are (pairs, dim). Raises ValueError where they
    are no pairs.
    """
    check_pairs(left, right)
    both = torch.cat([left, right])
    rows = torch.arange(len(both), device=both.device)
    itself = rows[:, None] == rows
    logits = (cosines(both, both) / temperature).masked_fill(itself, -torch.inf)
    return cross_entropy(logits, rows.roll(len(left)))


def momentum_contrast(
    queries: Tensor, keys: Tensor, queue: Tensor, temperature: float, in_batch: bool = False
) -> Tensor:
    """InfoNCE against a queue of earlier keys, a scalar.

    L = -(1/N) sum_i log( e(q_i, k_i) / (e(q_i, k_i) + sum_{n in queue} e(q_i, n)) ) with
    e(a, b) = exp(cos(a, b)/T) (MoCo, He et al., 2020; over two random crops of a text in
    Contriever, Izacard et al., 2022). With `in_batch` the other keys of the batch are negatives
    too. `queries` and `keys` are (pairs, dim), `queue` (any, dim). Keys come from an encoder that
    follows by `momentum.momentum_update` and are given without gradient.

    Raises ValueError where queries and keys are no pairs, or there is no negative.
    """
    check_pairs(queries, keys)
    if not in_batch and not len(queue):
        raise ValueError(
            "the queue is empty, so there is nothing to contrast with: push the keys of a batch "
            "first, or take the batch's own keys as negatives (in_batch)"
        )
    rows = torch.arange(len(queries), device=queries.device)
    if in_batch:
        logits = torch.cat([cosines(queries, keys), cosines(queries, queue)], 1)
        return cross_entropy(logits / temperature, rows)
    own = (unit(queries) * unit(keys)).sum(1, keepdim=True)
    logits = torch.cat([own, cosines(queries, queue)], 1)
    return cross_entropy(logits / temperature, torch.zeros_like(rows))


def ranking_with_hard_negatives(
    left: Tensor, right: Tensor, negatives: Tensor, temperature: float, keep: Tensor | None = None
) -> Tensor:
    """Rank each text's translation above the batch's others and above hard negatives of its own, a
    scalar.

    L = -(1/N) sum_i log( e(x_i, y_i) / (sum_k e(x_i, y_k) + sum_m e(x_i, n_im)) ) with
    e(a, b) = exp(cos(a, b)/T) (Guo et al., 2018; mUSE, Yang et al., 2020). `left` and `right` are
    (pairs, dim), `negatives` (pairs, k, dim): texts of the right side that are near left text i and
    do not translate it, as `mining.hard_negatives` finds them. Where `keep`, bool (pairs, k), is
    false, one does not count. Raises ValueError where the shapes do not fit.
    """
    check_pairs(left, right)
    if negatives.dim() != 3 or len(negatives) != len(left):
        raise ValueError(
            f"hard negatives of shape {tuple(negatives.shape)} do not fit {len(left)} pairs; "
            "give (pairs, negatives of each, dim)"
        )
    with exactly(left):
        hard = (unit(negatives) @ unit(left).unsqueeze(2)).squeeze(2)
    if keep is not None:
        hard = hard.masked_fill(~keep, -torch.inf)
    logits = torch.cat([cosines(left, right), hard], 1) / temperature
    return cross_entropy(logits, torch.arange(len(left), device=left.device))


def true_negatives(positive: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Which candidates are far enough below the partner to be no translation themselves.

    Keeps n where cos(x, n) < cos(x, y) - margin (Moreira et al., 2024). `positive` is (pairs,), the
    cosine of each text with its partner, `negatives` (pairs, k), its cosines with candidates;
    best from a teacher or from an earlier state of the model. Returns bool (pairs, k).
    """
    return negatives < positive.unsqueeze(1) - margin
