"""Roughly what a run takes, in tokens of a forward and a backward pass, before it is begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.bundle import Granularity
from training.ablation.jobs import Job
from training.recipe import ContrastiveRecipe
from training.terms.recipe import TAUGHT
from training.terms.total import OWN_TERMS
from training.terms.vectors import VECTOR_TERMS

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
    one forward: the gradient of what is trained needs no gradient of the backbone's weights.

    Terms over pooled vectors share a pass; each of the others is counted as one, whatever its own
    texts are, and a teacher as a forward pass of the texts that it reads.
    """
    named = set(plan.objectives)
    own = len(named & OWN_TERMS.keys()) + bool(named & VECTOR_TERMS.keys())
    taught = named & TAUGHT
    # Labels of both sides are read off both; all else is read off English alone.
    reads = 1.0 if any(each.endswith("average") for each in taught) else 0.5 * bool(taught)
    forwards = own * (1 + plan.gradient_cache) + reads + (0.5 if plan.anchor else 0.0)
    return (forwards + own) / 2


def measuring_tokens(texts: Mapping[Granularity, int]) -> int:
    """Of reading so many texts once, in float32, which takes about as long as a forward and a
    backward pass in bfloat16."""
    return sum(TYPICAL_TOKENS[each] * count for each, count in texts.items())
