import pytest

from training.student.recipe import StaticRecipe
from training.student.schedule import rate


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    recipe = StaticRecipe(steps=100, batch_pairs=2, warmup_steps=10, decay_share=0.4)
    rates = [rate(step, recipe) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:61] == [1.0] * 51
    assert rates[80] == pytest.approx(0.5)
    assert rates[100] == 0


def test_a_line_to_zero_from_the_start_unless_told_otherwise() -> None:
    recipe = StaticRecipe(steps=10, batch_pairs=2, warmup_steps=0)
    assert [rate(step, recipe) for step in (0, 5)] == pytest.approx([1.0, 0.5])
