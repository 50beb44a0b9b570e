"""Ranking with hard negatives that are mined from a pool of other pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.embedding import Batch, Row
from training.objectives.contrastive import ranking_with_hard_negatives
from training.objectives.matryoshka import matryoshka
from training.objectives.mining import hard_negatives
from training.positives import Positive, sides, tokenized
from training.terms.backward import backward
from training.terms.recipe import NegativesRecipe
from training.terms.term import Draw, OwnTerm, Setting
from training.terms.views import View, Views


@dataclass(frozen=True, slots=True)
class _Prepared:
    rows: Sequence[Row]
    right: Sequence[str]  # texts, casefolded
    views: Mapping[View, Batch]


class HardNegatives(OwnTerm):
    """Each pair, the batch's others, and right texts of a pool whose left texts are near its own.

    Near is what the teacher, where the recipe names one, or the plain backbone says of the left
    texts: so a backbone of one language mines too. The pool is drawn once, from the batches behind
    the stage's last.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._view = View.PLAIN_LEFT if setting.teacher is None else View.TEACHER_LEFT
        self._views = Views(
            frozenset({self._view}), setting.encoder, setting.teacher, setting.recipe
        )
        pool = _pool(setting)
        rows = tokenized(setting.encoder.backbone, setting.recipe, sides(pool))
        self._rows = rows[len(pool) :]
        self._right = [each.right.text.casefold() for each in pool]
        self._pool = self._views.embed(self._views.prepare(pool, rows))[self._view]

    def prepare(self, draw: Draw) -> _Prepared:
        """The pairs' rows, and what their left texts are mined by."""
        right = [each.right.text.casefold() for each in draw.positives]
        return _Prepared(draw.rows, right, self._views.prepare(draw.positives, draw.rows))

    def backward(self, prepared: _Prepared, scale: float) -> Mapping[str, float]:
        """Mine, then rank; `hard_negatives` is how many a pair got."""
        encoder, plan = self._setting.encoder, self._setting.plan
        left = self._views.embed(prepared.views)[self._view]
        mined = self._mine(left, prepared.right, plan.negatives)
        keep = mined >= 0
        # Each text of the pool once, however many pairs it is near to.
        used, place = torch.unique(mined[keep], return_inverse=True)
        rows = [*prepared.rows, *(self._rows[index] for index in used.tolist())]
        where = torch.zeros_like(mined)
        where[keep] = place + len(prepared.rows)

        def objective(vectors: Tensor) -> Tensor:
            left, right = vectors[: len(prepared.rows)].chunk(2)
            negatives = vectors[where]

            def one_width(left: Tensor, right: Tensor) -> Tensor:
                cut = negatives[..., : left.shape[1]]
                return ranking_with_hard_negatives(left, right, cut, plan.temperature, keep)

            return matryoshka(one_width, left, right, self._setting.recipe.matryoshka_dimensions)

        batch = encoder.batch(rows)
        cached = plan.gradient_cache
        loss = backward(encoder.encode, batch.chunks, batch.place, objective, scale, cached)
        return {"loss": loss.item(), "hard_negatives": keep.sum().item() / len(keep)}

    def _mine(self, left: Tensor, right: Sequence[str], plan: NegativesRecipe) -> Tensor:
        """The places in the pool of each pair's negatives, int64 (pairs, count); -1: none."""
        own = torch.arange(len(left), device=left.device)
        # A left text is its own partner: what is as near to it as a copy may mean the same.
        targets = torch.cat([self._pool, left])
        partner = own + len(self._pool)
        found = hard_negatives(left, targets, partner, plan.count, plan.share).indices
        # The batch's own texts are negatives already.
        found = found.masked_fill(found >= len(self._pool), -1)
        twins = [
            [index >= 0 and self._right[index] == text for index in row]
            for text, row in zip(right, found.tolist(), strict=True)
        ]
        return found.masked_fill(torch.tensor(twins, device=found.device), -1)


def _pool(setting: Setting) -> list[Positive]:
    """Pairs with different left texts, as many as the recipe asks for or batches of that give."""
    plan = setting.plan
    first = plan.steps * plan.accumulation_steps
    found: dict[str, Positive] = {}
    for number in range(first, first - (-plan.negatives.pool // plan.batch_pairs)):
        for each in setting.draw(number, plan.batch_pairs):
            found.setdefault(each.left.text.casefold(), each)
    return list(found.values())[: plan.negatives.pool]
