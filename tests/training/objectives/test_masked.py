import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.training.objectives.slow import leaf, normal
from training.objectives.masked import (
    IGNORED,
    Masking,
    mask_tokens,
    masked_language_modelling,
)

MASKING = Masking(mask_id=4, special_ids=frozenset({0, 2, 9}), vocabulary=20)
SPECIAL = [0, 2, 4, 9]


def _masked(count: int = 200_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, (10, count // 10), generator=generator)
    seen, labels = mask_tokens(ids, MASKING, generator)
    return ids.numpy(), seen.numpy(), labels.numpy()


def test_fifteen_percent_are_to_be_guessed_and_no_special_token() -> None:
    ids, seen, labels = _masked()
    ordinary = ~np.isin(ids, SPECIAL)
    chosen = labels != IGNORED
    assert not chosen[~ordinary].any()
    assert chosen[ordinary].mean() == pytest.approx(0.15, abs=0.004)
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(seen[~chosen], ids[~chosen])


def test_of_these_eighty_percent_are_masked_and_ten_replaced() -> None:
    ids, seen, labels = _masked()
    chosen = labels != IGNORED
    masked = (seen == MASKING.mask_id)[chosen]
    changed = (seen != ids)[chosen] & ~masked
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    # One of the sixteen ordinary tokens replaces itself now and then.
    assert changed.mean() == pytest.approx(0.1 * 15 / 16, abs=0.01)
    replaced = seen[chosen][changed]
    counts = np.bincount(replaced, minlength=20)
    assert (counts[SPECIAL] == 0).all()
    ordinary = np.delete(counts, SPECIAL)
    assert ordinary == pytest.approx(np.full(16, len(replaced) / 16), rel=0.3)


def test_the_share_is_what_is_asked_for() -> None:
    everything = Masking(4, frozenset({0}), 20, share=1.0)
    ids = torch.tensor([[0, 4, 5, 6, 7]])
    _, labels = mask_tokens(ids, everything)
    assert labels.tolist() == [[IGNORED, IGNORED, 5, 6, 7]]


def test_the_generator_decides_it_all() -> None:
    ids = torch.randint(20, (5, 50))
    runs = [mask_tokens(ids, MASKING, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


@pytest.mark.parametrize("with_bias", [False, True])
def test_cross_entropy_is_over_the_token_table(with_bias: bool) -> None:
    states, table, bias = normal(0, 2, 4, 3), normal(1, 6, 3), normal(2, 6) * with_bias
    labels = np.array([[IGNORED, 5, IGNORED, 0], [2, IGNORED, IGNORED, IGNORED]])
    losses = []
    for row, place in np.ndindex(2, 4):
        if labels[row, place] != IGNORED:
            weights = [
                np.exp(sum(states[row, place] * table[token]) + bias[token]) for token in range(6)
            ]
            losses.append(-np.log(weights[labels[row, place]] / sum(weights)))
    wanted, extra = torch.tensor(labels), torch.tensor(bias) if with_bias else None
    loss = masked_language_modelling(torch.tensor(states), wanted, torch.tensor(table), extra)
    assert loss.item() == pytest.approx(np.mean(losses))
    if with_bias:
        assert gradcheck(
            lambda a, b, c: masked_language_modelling(a, wanted, b, c),
            (leaf(states), leaf(table), leaf(bias)),
        )
    else:
        assert gradcheck(
            lambda a, b: masked_language_modelling(a, wanted, b), (leaf(states), leaf(table))
        )


def test_nothing_to_guess_costs_nothing() -> None:
    states = leaf(normal(0, 1, 2, 3))
    labels = torch.full((1, 2), IGNORED)
    loss = masked_language_modelling(states, labels, torch.tensor(normal(1, 6, 3)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert states.grad is not None
    assert states.grad.abs().max() == 0


@pytest.mark.parametrize("autocast", [False, True])
def test_the_softmax_of_low_precision_logits_is_in_float32(autocast: bool) -> None:
    states, table = (torch.tensor(normal(rows, 1, rows, 8)).bfloat16() for rows in (3, 50))
    labels = torch.tensor([[1, 2, 3]])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = masked_language_modelling(states, labels, table[0])
    logits = (states[0] @ table[0].T).float()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels[0]).item())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share is 0\.0; use above 0"):
        Masking(4, frozenset(), 20, share=0.0)
    with pytest.raises(ValueError, match="mask_id is 20; use an id below 20"):
        Masking(20, frozenset(), 20)
