import numpy as np
import pytest
import torch

from tests.training.objectives.slow import cosine, leaf, normal
from training.objectives.contrastive import info_nce
from training.objectives.cosine import check_pairs, cosines, unit


def test_cosines_are_those_of_every_two_rows_of_each_batch() -> None:
    left, right = normal(0, 2, 3, 5), normal(1, 2, 4, 5)
    found = cosines(torch.tensor(left), torch.tensor(right))
    assert found.shape == (2, 3, 4)
    for batch, i, j in np.ndindex(2, 3, 4):
        assert found[batch, i, j].item() == pytest.approx(cosine(left[batch, i], right[batch, j]))


def test_a_zero_vector_stays_zero() -> None:
    assert unit(torch.zeros(1, 3)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_precision_is_raised_and_never_lowered(given: torch.dtype, computed: torch.dtype) -> None:
    vectors = torch.tensor(normal(0, 4, 3)).to(given)
    assert cosines(vectors, vectors).dtype == computed
    assert info_nce(vectors, vectors, 0.1).dtype == computed


def test_autocast_around_it_changes_nothing() -> None:
    left, right = leaf(normal(0, 8, 16)), leaf(normal(1, 8, 16))
    with torch.autocast("cpu", torch.bfloat16):
        inside = cosines(left.float(), right.float())
    assert torch.equal(inside, cosines(left.float(), right.float()))


@pytest.mark.parametrize("shapes", [((3, 2), (4, 2)), ((3, 2), (3, 3)), ((3,), (3,))])
def test_what_is_no_pairs_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        check_pairs(torch.ones(shapes[0]), torch.ones(shapes[1]))
