"""Terms over the pairs' pooled vectors: hard and soft contrast, distillation, the anchor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn.functional import cosine_similarity

from training.objectives.chunked import chunked_info_nce
from training.objectives.contrastive import Direction, info_nce
from training.objectives.distillation import embedding_mse, similarity_mse
from training.objectives.matryoshka import matryoshka
from training.objectives.soft import (
    average,
    monolingual,
    priority,
    soft_contrastive,
    soft_labels,
    tcm,
)
from training.terms.recipe import Objective
from training.terms.term import Setting, VectorTerm
from training.terms.views import View

# (source, target, labels, temperature) -> a scalar
SoftLoss = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class InfoNCE(VectorTerm):
    """`info_nce`, in tiles where asked for."""

    temperature: float
    direction: Direction
    margin: float
    tiled: bool
    prefixes: Sequence[int]

    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        one_width = partial(
            chunked_info_nce if self.tiled else info_nce,
            temperature=self.temperature,
            direction=self.direction,
            margin=self.margin,
        )
        return matryoshka(one_width, left, right, self.prefixes)


@dataclass(frozen=True)
class Anchor(VectorTerm):
    """The mean distance, 1 - cosine, of the left texts from where the plain backbone puts them."""

    @property
    def views(self) -> frozenset[View]:
        return frozenset({View.PLAIN_LEFT})

    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        return 1 - cosine_similarity(left, views[View.PLAIN_LEFT], dim=-1).mean()


@dataclass(frozen=True)
class Priority:
    """A teacher's cosines among the left texts, English as a rule."""

    views = frozenset({View.TEACHER_LEFT})

    def __call__(self, views: Mapping[View, Tensor]) -> Tensor:
        return priority(views[View.TEACHER_LEFT])


@dataclass(frozen=True)
class Average:
    """The mean of a teacher's cosines within either side."""

    views = frozenset({View.TEACHER_LEFT, View.TEACHER_RIGHT})

    def __call__(self, views: Mapping[View, Tensor]) -> Tensor:
        return average(views[View.TEACHER_LEFT], views[View.TEACHER_RIGHT])


@dataclass(frozen=True)
class Soft(VectorTerm):
    """A contrast with soft labels of a teacher: across the languages, within them, or both."""

    objective: SoftLoss
    teacher: Priority | Average
    label_temperature: float
    temperature: float
    prefixes: Sequence[int]

    @property
    def views(self) -> frozenset[View]:
        return self.teacher.views

    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        labels = soft_labels(self.teacher(views), self.label_temperature)

        def one_width(source: Tensor, target: Tensor) -> Tensor:
            return self.objective(source, target, labels, self.temperature)

        return matryoshka(one_width, left, right, self.prefixes)


@dataclass(frozen=True)
class SimilarityMSE(VectorTerm):
    """`similarity_mse`."""

    teacher: Priority | Average
    prefixes: Sequence[int]

    @property
    def views(self) -> frozenset[View]:
        return self.teacher.views

    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        one_width = partial(similarity_mse, similarities=self.teacher(views))
        return matryoshka(one_width, left, right, self.prefixes)


@dataclass(frozen=True)
class EmbeddingMSE(VectorTerm):
    """`embedding_mse`: number by number, so every width is in the whole one."""

    @property
    def views(self) -> frozenset[View]:
        return frozenset({View.TEACHER_LEFT})

    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        return embedding_mse(views[View.TEACHER_LEFT], left, right)


def _info_nce(setting: Setting) -> VectorTerm:
    plan = setting.plan
    prefixes = setting.recipe.matryoshka_dimensions
    return InfoNCE(plan.temperature, plan.direction, plan.margin, plan.tiled, prefixes)


def _soft(objective: SoftLoss, teacher: Priority | Average, setting: Setting) -> VectorTerm:
    plan = setting.plan
    prefixes = setting.recipe.matryoshka_dimensions
    return Soft(objective, teacher, plan.soft.temperature, plan.temperature, prefixes)


def _similarity_mse(teacher: Priority | Average, setting: Setting) -> VectorTerm:
    return SimilarityMSE(teacher, setting.recipe.matryoshka_dimensions)


VECTOR_TERMS: Mapping[Objective, Callable[[Setting], VectorTerm]] = {
    Objective.INFO_NCE: _info_nce,
    Objective.SOFT_PRIORITY: partial(_soft, soft_contrastive, Priority()),
    Objective.SOFT_AVERAGE: partial(_soft, soft_contrastive, Average()),
    Objective.MONOLINGUAL_PRIORITY: partial(_soft, monolingual, Priority()),
    Objective.MONOLINGUAL_AVERAGE: partial(_soft, monolingual, Average()),
    Objective.TCM: partial(_soft, tcm, Priority()),
    Objective.TCM_AVERAGE: partial(_soft, tcm, Average()),
    Objective.SIMILARITY_MSE: partial(_similarity_mse, Priority()),
    Objective.SIMILARITY_MSE_AVERAGE: partial(_similarity_mse, Average()),
    Objective.EMBEDDING_MSE: lambda setting: EmbeddingMSE(),
}
