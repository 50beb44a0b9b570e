"""Masked language modelling (BERT, Devlin et al., 2019), by itself or beside a contrast.

CL+MLM of GranCATs is the plain sum of a contrastive objective and `masked_language_modelling`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from training.objectives.cosine import full_precision

# The label of a position that is not to be guessed.
IGNORED = -100
# Of the positions to be guessed: this share is masked, and this one shows another token.
_MASKED = 0.8
_REPLACED = 0.1


@dataclass(frozen=True, slots=True)
class Masking:
    """Which tokens of a vocabulary may be masked and drawn, and how many are."""

    mask_id: int
    # Padding among them; these are never masked, nor drawn in another's place.
    special_ids: frozenset[int]
    vocabulary: int
    # The share of the other tokens that is to be guessed.
    share: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; use above 0 and up to 1")
        if not 0 <= self.mask_id < self.vocabulary:
            raise ValueError(f"mask_id is {self.mask_id}; use an id below {self.vocabulary}")


def mask_tokens(
    ids: Tensor, masking: Masking, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Ids as a model shall see them, and the labels that it shall find, both int64 like `ids`.

    Each token that is not special is to be guessed with probability `share`; of these, 80 % are
    replaced by the mask, 10 % by any token that is not special, and 10 % stay. Labels are the
    original ids there and `IGNORED` everywhere else.
    """
    special = sorted({*masking.special_ids, masking.mask_id})
    draw = torch.rand(2, *ids.shape, generator=generator, device=ids.device)
    ordinary = ~torch.isin(ids, torch.tensor(special, device=ids.device))
    chosen = ordinary & (draw[0] < masking.share)
    other = torch.randint(
        masking.vocabulary - len(special), ids.shape, generator=generator, device=ids.device
    )
    for each in special:  # rising, so that what was drawn steps over each of them
        other += other >= each
    seen = ids.masked_fill(chosen & (draw[1] < _MASKED), masking.mask_id)
    seen = torch.where(chosen & (draw[1] >= 1 - _REPLACED), other, seen)
    return seen, ids.masked_fill(~chosen, IGNORED)


def masked_language_modelling(
    states: Tensor, labels: Tensor, table: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Cross-entropy of guessing the labels, with the token table as output layer, a scalar.

    L = -mean log softmax(E h + b)[label] over the positions whose label is not `IGNORED` (BERT,
    Devlin et al., 2019); 0 where there are none. `states` is (rows, tokens, dim), behind a model's
    prediction head where it has one, `labels` int64 (rows, tokens), `table` E (vocabulary, dim),
    `bias` b (vocabulary,). Only those positions meet the table: (positions, vocabulary) logits are
    held, computed in the precision of the autocast around it, and their softmax in float32.
    """
    chosen = labels != IGNORED
    logits = full_precision(linear(states[chosen], table, bias))
    return cross_entropy(logits, labels[chosen], reduction="sum") / max(1, len(logits))
