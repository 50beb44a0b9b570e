"""Token-to-token contrast within a pair of texts (VECO 2.0), over words.

Sub-word states go through `word_vectors`. Who is whose partner is told by links, those of a
dictionary (`training.dictionary.Dictionary.links`) or of an aligner, one pair of texts at a time
(`link_partners`), or by the vectors (`mutual_partners`). `token_alignment` takes both.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from training.objectives.cosine import cosines, full_precision


def word_vectors(states: Tensor, words: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean of each word's sub-word states, and which words have any.

    `states` is (rows, tokens, dim); `words`, int64 (rows, tokens), the number of the word that a
    token belongs to, below `count`, and -1 for special tokens and padding. Returns vectors
    (rows, count, dim), zero for words without a token, and bool (rows, count). Raises ValueError
    where a word's number is not below `count`.
    """
    if (words >= count).any():
        raise ValueError(f"word {int(words.max())} is not among {count}; give a larger count")
    rows, _, dim = states.shape
    states = full_precision(states)
    inside = words >= 0
    # One flat place per row and word; what belongs to no word goes to a place that is cut off.
    places = torch.arange(rows, device=words.device).unsqueeze(1) * count + words
    places = places.masked_fill(~inside, rows * count).flatten()
    sums = states.new_zeros(rows * count + 1, dim).index_add(0, places, states.flatten(0, 1))
    tokens = states.new_zeros(rows * count + 1).index_add(
        0, places, torch.ones_like(places, dtype=states.dtype)
    )
    means = (sums / tokens.clamp(min=1).unsqueeze(1))[:-1]
    return means.view(rows, count, dim), tokens[:-1].view(rows, count) > 0


def token_alignment(
    left: Tensor,
    right: Tensor,
    left_mask: Tensor,
    right_mask: Tensor,
    partners: Tensor,
    temperature: float,
) -> Tensor:
    """Words stand near their partners in the other text of their pair, and apart from its other
    words; a scalar.

    L = -mean_i log( sum_{p in P(i)} exp(cos(h_i, h_p)/T) / sum_k exp(cos(h_i, h_k)/T) ) over the
    words i of the batch that have partners P(i), k over all words of the other text; the mean of
    both directions (VECO 2.0, Zhang et al., 2023). `left` is (rows, a, dim), `right` (rows, b,
    dim), the masks bool (rows, a) and (rows, b), `partners` bool (rows, a, b); partners that a mask
    leaves out do not count. 0 where no word has a partner. Raises ValueError where the shapes do
    not fit.
    """
    if partners.shape != (*left.shape[:2], right.shape[1]):
        raise ValueError(
            f"partners of shape {tuple(partners.shape)} do not fit words of "
            f"{tuple(left.shape)} and {tuple(right.shape)}; give (rows, left words, right words)"
        )
    logits = cosines(left, right) / temperature
    both = left_mask.unsqueeze(2) & right_mask.unsqueeze(1)
    partners = partners & both
    forward = _mean_loss(logits, right_mask, partners)
    back = _mean_loss(logits.mT, left_mask, partners.mT)
    return (forward + back) / 2


def _mean_loss(logits: Tensor, candidates: Tensor, partners: Tensor) -> Tensor:
    """One direction: (rows, n, m) logits, the m that are words, and the partners of each n."""
    searching = partners.any(2)
    everyone = logits.masked_fill(~candidates.unsqueeze(1), -torch.inf)[searching]
    own = everyone.masked_fill(~partners[searching], -torch.inf)
    losses = everyone.logsumexp(1) - own.logsumexp(1)
    return losses.sum() / max(1, len(losses))


def link_partners(links: Iterable[tuple[int, int]], left: int, right: int) -> Tensor:
    """The links of an aligner, (left word, right word), as partners: bool (left, right).

    Raises ValueError where a link points outside.
    """
    found = torch.zeros(left, right, dtype=torch.bool)
    for i, j in links:
        if not (0 <= i < left and 0 <= j < right):
            raise ValueError(f"link {i}-{j} points outside of {left} and {right} words")
        found[i, j] = True
    return found


def mutual_partners(
    left: Tensor,
    right: Tensor,
    left_mask: Tensor,
    right_mask: Tensor,
    diagonal: float = 0.0,
) -> Tensor:
    """Words that are each other's nearest by cosine, the links of an aligner made of the vectors
    themselves (SimAlign's Argmax, Jalili Sabet et al., 2020); without gradient.

    Shapes are those of `token_alignment`; words stand at the front of each row; returns bool
    (rows, a, b). Vectors from a frozen model make it the teacher; of the model that trains, it
    learns from itself (awesome-align, Dou and Neubig, 2021). The first of several that are alike is
    the nearest. `diagonal` times how far apart two words stand, in shares of their texts, is taken
    off their cosine, as fast_align (Dyer et al., 2013) prefers words at like places: it tells the
    second "the" of a sentence from the first.
    """
    with torch.no_grad():
        both = left_mask.unsqueeze(2) & right_mask.unsqueeze(1)
        if not both.numel():
            return both
        apart = _places(left_mask).unsqueeze(2) - _places(right_mask).unsqueeze(1)
        near = (cosines(left, right) - diagonal * apart.abs()).masked_fill(~both, -torch.inf)
        best = torch.zeros_like(both).scatter(2, near.argmax(2, keepdim=True), True)
        back = torch.zeros_like(both).scatter(1, near.argmax(1, keepdim=True), True)
        return best & back & both


def _places(mask: Tensor) -> Tensor:
    """Where each word stands in its text, from 0 to 1: (rows, words)."""
    numbers = torch.arange(mask.shape[1], device=mask.device) + 0.5
    return numbers / mask.sum(1, keepdim=True).clamp(min=1)
