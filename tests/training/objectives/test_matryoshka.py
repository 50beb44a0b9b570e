import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.training.objectives.slow import cosine, leaf, log_share, normal
from training.objectives.contrastive import info_nce
from training.objectives.matryoshka import matryoshka


def slow_info_nce(left: np.ndarray, right: np.ndarray) -> float:
    found = [
        log_share([cosine(one, other) for other in right], place, 0.5)
        for place, one in enumerate(left)
    ]
    return -sum(found) / len(left)


@pytest.mark.parametrize("prefixes", [(), (2,), (2, 3)])
def test_it_is_the_sum_over_its_widths(prefixes: tuple[int, ...]) -> None:
    left, right = normal(0, 5, 4), normal(1, 5, 4)

    def loss(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return matryoshka(lambda a, b: info_nce(a, b, 0.5), one, other, prefixes)

    widths = [slow_info_nce(left[:, :n], right[:, :n]) for n in (*prefixes, 4)]
    assert loss(torch.tensor(left), torch.tensor(right)).item() == pytest.approx(sum(widths))
    assert gradcheck(loss, (leaf(left), leaf(right)))


@pytest.mark.parametrize("prefixes", [(0,), (3,), (1, 4), (-1,)])
def test_a_prefix_is_a_part_of_the_vector(prefixes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are not all shorter than 3"):
        matryoshka(lambda a, b: (a * b).sum(), torch.ones(2, 3), torch.ones(2, 3), prefixes)
