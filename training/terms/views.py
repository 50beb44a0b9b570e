"""Vectors that are not trained: what a teacher or the plain backbone makes of a batch's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from training.embedding import Batch, Encoder, Row
from training.positives import Positive, tokenized, without_adapter
from training.recipe import Recipe


class View(StrEnum):
    """Whose vectors, and of which side of the pairs."""

    PLAIN_LEFT = "plain left"
    TEACHER_LEFT = "teacher left"
    TEACHER_RIGHT = "teacher right"


@dataclass(frozen=True, slots=True)
class Views:
    """Computes those of the views that are wanted."""

    wanted: frozenset[View]
    encoder: Encoder
    teacher: Encoder | None
    recipe: Recipe

    def prepare(self, positives: Sequence[Positive], rows: Sequence[Row]) -> dict[View, Batch]:
        """Batches for `embed`; `rows` are all left texts of the pairs, then all right ones."""
        found: dict[View, Batch] = {}
        if View.PLAIN_LEFT in self.wanted:
            # As their adapters cut them, through no adapter.
            left = rows[: len(positives)]
            found[View.PLAIN_LEFT] = self.encoder.batch(without_adapter(left))
        for view, texts in (
            (View.TEACHER_LEFT, [each.left for each in positives]),
            (View.TEACHER_RIGHT, [each.right for each in positives]),
        ):
            if view in self.wanted:
                teacher = self._teacher()
                own = tokenized(teacher.backbone, self.recipe, texts)
                found[view] = teacher.batch(without_adapter(own))
        return found

    def embed(self, batches: Mapping[View, Batch]) -> dict[View, Tensor]:
        """Pooled vectors without gradient, float32 (pairs, dim of the model)."""
        with torch.no_grad():
            return {
                view: (self.encoder if view is View.PLAIN_LEFT else self._teacher()).embed(batch)
                for view, batch in batches.items()
            }

    def _teacher(self) -> Encoder:
        if self.teacher is None:
            raise ValueError("a view of the teacher is wanted, and there is none")
        return self.teacher
