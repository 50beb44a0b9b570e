"""The learning rate of a stage, as a share of its peak."""

from __future__ import annotations

from training.student.recipe import StageRecipe


def rate(step: int, recipe: StageRecipe) -> float:
    """Linear warm-up, the peak, then a line to zero over the last `decay_share` of the steps."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    falling = recipe.decay_share * recipe.steps
    return warm * min(1.0, (recipe.steps - step) / max(1.0, falling))
