import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.training.objectives.slow import cosine, leaf, normal
from training.objectives.distillation import embedding_mse, similarity_mse
from training.objectives.soft import priority

SOURCE, TARGET, TEACHER = normal(0, 4, 3), normal(1, 4, 3), normal(2, 4, 3)


def test_both_sides_go_where_the_teacher_puts_the_source() -> None:
    total = 0.0
    for i, d in np.ndindex(4, 3):
        for side in (SOURCE, TARGET):
            total += float(TEACHER[i, d] - side[i, d]) ** 2
    found = embedding_mse(torch.tensor(TEACHER), torch.tensor(SOURCE), torch.tensor(TARGET))
    assert found.item() == pytest.approx(total / 12)
    teacher = torch.tensor(TEACHER)
    assert gradcheck(lambda a, b: embedding_mse(teacher, a, b), (leaf(SOURCE), leaf(TARGET)))


def test_cosines_across_languages_become_the_teachers() -> None:
    teacher = normal(3, 4, 7)  # of another width
    total = 0.0
    for i, j in np.ndindex(4, 4):
        total += (cosine(SOURCE[i], TARGET[j]) - cosine(teacher[i], teacher[j])) ** 2
    wanted = priority(torch.tensor(teacher))
    found = similarity_mse(torch.tensor(SOURCE), torch.tensor(TARGET), wanted)
    assert found.item() == pytest.approx(total / 16)
    assert gradcheck(lambda a, b: similarity_mse(a, b, wanted), (leaf(SOURCE), leaf(TARGET)))


def test_low_precision_is_subtracted_in_full() -> None:
    sides = [torch.tensor(each).bfloat16() for each in (TEACHER, SOURCE, TARGET)]
    full = embedding_mse(*(each.float() for each in sides))
    assert torch.equal(embedding_mse(*sides), full)


def test_what_does_not_fit_is_refused() -> None:
    sides = torch.tensor(SOURCE), torch.tensor(TARGET)
    with pytest.raises(ValueError, match="project one to the width of the other"):
        embedding_mse(torch.ones(4, 5), *sides)
    with pytest.raises(ValueError, match="do not fit 4 pairs"):
        similarity_mse(*sides, torch.eye(3))
