from __future__ import annotations

import pytest

from training.contrastive import learning_rate
from training.recipe import AdapterRecipe

PLAN = AdapterRecipe.model_validate(
    {
        "granularity": "phrase",
        "max_tokens": 8,
        "steps": 100,
        "batch_pairs": 4,
        "learning_rate": 0.5,
        "warmup_steps": 10,
    }
)


def test_the_rate_rises_then_falls_along_a_cosine_to_zero() -> None:
    rates = [learning_rate(step, PLAN) for step in range(101)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[55] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
