from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.training.objectives.slow import cosine, leaf, log_share, normal
from training.objectives.contrastive import Direction, info_nce
from training.objectives.soft import (
    average,
    monolingual,
    priority,
    soft_contrastive,
    soft_labels,
    tcm,
)

N = 4
SOURCE, TARGET = normal(0, N, 3), normal(1, N, 3)
Objective = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
TEACHER = normal(2, N, 5), normal(3, N, 5)  # a teacher of another width


def slow_labels(kind: str, temperature: float) -> np.ndarray:
    source, target = TEACHER
    labels = np.zeros((N, N))
    for i in range(N):
        scores = [cosine(source[i], source[j]) for j in range(N)]
        if kind == "average":
            scores = [(scores[j] + cosine(target[i], target[j])) / 2 for j in range(N)]
        for j in range(N):
            labels[i, j] = np.exp(log_share(scores, j, temperature))
    return labels


def slow_cross_entropy(one: np.ndarray, other: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for i, j in np.ndindex(N, N):
        scores = [cosine(one[i], other[k]) for k in range(N)]
        total -= float(labels[i, j]) * log_share(scores, j, 0.2)
    return total / N


def fast_labels(kind: str, temperature: float) -> torch.Tensor:
    source, target = (torch.tensor(each) for each in TEACHER)
    similarities = priority(source) if kind == "priority" else average(source, target)
    return soft_labels(similarities, temperature)


@pytest.mark.parametrize("kind", ["priority", "average"])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_labels_are_the_teachers_softmax(kind: str, temperature: float) -> None:
    found = fast_labels(kind, temperature)
    np.testing.assert_allclose(found.numpy(), slow_labels(kind, temperature), rtol=1e-9)


@pytest.mark.parametrize("kind", ["priority", "average"])
def test_the_papers_sums(kind: str) -> None:
    labels = slow_labels(kind, 0.1)
    given = torch.tensor(SOURCE), torch.tensor(TARGET), torch.tensor(labels), 0.2
    cross = slow_cross_entropy(SOURCE, TARGET, labels) + slow_cross_entropy(TARGET, SOURCE, labels)
    mono = slow_cross_entropy(SOURCE, SOURCE, labels) + slow_cross_entropy(TARGET, TARGET, labels)
    assert soft_contrastive(*given).item() == pytest.approx(cross)
    assert monolingual(*given).item() == pytest.approx(mono)
    assert tcm(*given).item() == pytest.approx(cross + mono)
    assert tcm(*given, cross_weight=0.3).item() == pytest.approx(0.3 * cross + mono)


def test_hard_labels_are_twice_the_symmetric_info_nce() -> None:
    source, target = torch.tensor(SOURCE), torch.tensor(TARGET)
    hard = info_nce(source, target, 0.1, Direction.SYMMETRIC).item()
    found = soft_contrastive(source, target, torch.eye(N), 0.1)
    assert found.item() == pytest.approx(2 * hard)
    cold = soft_labels(priority(source), 1e-4)
    assert torch.equal(cold, torch.eye(N, dtype=torch.float64))


@pytest.mark.parametrize("objective", [soft_contrastive, monolingual, tcm])
def test_gradients(objective: Objective) -> None:
    labels = fast_labels("average", 0.5)
    assert gradcheck(
        lambda a, b: objective(a, b, labels, 0.5),
        (leaf(SOURCE), leaf(TARGET)),
    )


@pytest.mark.parametrize("objective", [soft_contrastive, monolingual, tcm])
def test_labels_of_another_batch_are_refused(objective: Objective) -> None:
    sides = torch.tensor(SOURCE), torch.tensor(TARGET)
    with pytest.raises(ValueError, match="do not fit 4 pairs; give one row and one column"):
        objective(*sides, torch.eye(N + 1), 0.1)
    with pytest.raises(ValueError, match="are no pairs"):
        objective(sides[0], sides[1][:2], torch.eye(N), 0.1)
