"""Roughly what a run takes, in tokens of a forward and a backward pass, before it is begun."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass

from models.bundle import Granularity
from training.ablation.jobs import Job
from training.recipe import ContrastiveRecipe

# Tokens of a text with special ones, about, in the corpora of docs/corpora.md and the test sets,
# with a multilingual vocabulary of 100,000; enough to plan by, and to draw a bar by.
TYPICAL_TOKENS = {
    Granularity.WORD: 32,
    Granularity.PHRASE: 8,
    Granularity.SENTENCE: 32,
    Granularity.PARAGRAPH: 160,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run trains on."""

    steps: int
    # Both sides of every pair.
    texts: int
    # Of these texts, about, as often as they go through the encoder.
    tokens: int


def training_cost(job: Job) -> Cost:
    """`steps` x `accumulation_steps` x `batch_pairs` x 2 over the stages of a run; nothing for one
    that does not train."""
    if not job.trained:
        return Cost(0, 0, 0)
    recipe = job.recipe
    stages: list[tuple[ContrastiveRecipe, int]] = [
        (plan, min(plan.max_tokens, TYPICAL_TOKENS[plan.granularity]))
        for plan in recipe.adapters.values()
    ]
    if recipe.joint is not None:
        lengths = [TYPICAL_TOKENS[granularity] for granularity in recipe.by_granularity]
        stages.append((recipe.joint, sum(lengths) // len(lengths)))
    steps = texts = tokens = 0
    for plan, length in stages:
        count = plan.steps * plan.accumulation_steps * plan.batch_pairs * 2
        steps += plan.steps
        texts += count
        tokens += round(count * length * _passes(plan))
    return Cost(steps, texts, tokens)


def _passes(plan: ContrastiveRecipe) -> float:
    """Forward and backward passes per text, a pass back through a frozen backbone taking as long as
    one forward: the gradient of what is trained needs no gradient of the backbone's weights."""
    forwards = 1.0 + plan.gradient_cache + (0.5 if plan.anchor else 0.0)
    return (forwards + 1) / 2


def measuring_tokens(texts: Mapping[Granularity, Sized]) -> int:
    """Of reading texts once, in float32, which takes about as long as a forward and a backward pass
    in bfloat16."""
    return sum(TYPICAL_TOKENS[each] * len(those) for each, those in texts.items())
