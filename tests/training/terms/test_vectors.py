"""Each name over the pairs' vectors is the objective that it says, at every width."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.training.terms.tiny import setting
from training.embedding import Encoder
from training.objectives import soft
from training.objectives.contrastive import Direction, info_nce
from training.objectives.distillation import embedding_mse, similarity_mse
from training.terms import vectors
from training.terms.recipe import Objective
from training.terms.vectors import VECTOR_TERMS
from training.terms.views import View

# Of the student, 6 pairs of width 8; of the teacher, of width 8 too.
LEFT, RIGHT, TAUGHT_LEFT, TAUGHT_RIGHT = torch.randn(
    4, 6, 8, generator=torch.Generator().manual_seed(0)
)
VIEWS = {View.TEACHER_LEFT: TAUGHT_LEFT, View.TEACHER_RIGHT: TAUGHT_RIGHT}
PRIORITY, AVERAGE = soft.priority(TAUGHT_LEFT), soft.average(TAUGHT_LEFT, TAUGHT_RIGHT)
BY_PRIORITY, BY_AVERAGE = (soft.soft_labels(each, 0.4) for each in (PRIORITY, AVERAGE))

EXPECTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "info_nce": lambda x, y: info_nce(x, y, 0.2, Direction.SYMMETRIC, 0.3),
    "soft_priority": lambda x, y: soft.soft_contrastive(x, y, BY_PRIORITY, 0.2),
    "soft_average": lambda x, y: soft.soft_contrastive(x, y, BY_AVERAGE, 0.2),
    "monolingual_priority": lambda x, y: soft.monolingual(x, y, BY_PRIORITY, 0.2),
    "monolingual_average": lambda x, y: soft.monolingual(x, y, BY_AVERAGE, 0.2),
    "tcm": lambda x, y: soft.tcm(x, y, BY_PRIORITY, 0.2),
    "tcm_average": lambda x, y: soft.tcm(x, y, BY_AVERAGE, 0.2),
    "similarity_mse": lambda x, y: similarity_mse(x, y, PRIORITY),
    "similarity_mse_average": lambda x, y: similarity_mse(x, y, AVERAGE),
}


def _loss(encoder: Encoder, name: str, tiled: bool = False) -> Tensor:
    made = setting(
        encoder,
        {name: 1.0},
        top={"matryoshka_dimensions": [3]},
        temperature=0.2,
        direction="symmetric",
        margin=0.3,
        soft={"temperature": 0.4},
        tiled=tiled,
    )
    term = VECTOR_TERMS[Objective(name)](made)
    return term.loss(LEFT, RIGHT, {view: VIEWS[view] for view in term.views})


@pytest.mark.parametrize("name", EXPECTED)
def test_a_name_is_its_objective_at_every_width(encoder: Encoder, name: str) -> None:
    expected = EXPECTED[name](LEFT, RIGHT) + EXPECTED[name](LEFT[:, :3], RIGHT[:, :3])
    torch.testing.assert_close(_loss(encoder, name), expected)


def test_distances_of_vectors_are_of_the_whole_width(encoder: Encoder) -> None:
    assert set(EXPECTED) | {"embedding_mse"} == set(VECTOR_TERMS)
    expected = embedding_mse(TAUGHT_LEFT, LEFT, RIGHT)
    torch.testing.assert_close(_loss(encoder, "embedding_mse"), expected)


def test_tiles_change_no_value(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _loss(encoder, "info_nce")
    monkeypatch.setattr(vectors, "info_nce", None)  # is not called
    torch.testing.assert_close(_loss(encoder, "info_nce", tiled=True), plain)
