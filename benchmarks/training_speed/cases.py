"""What is measured: objectives as recipes name them, and their counterparts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.training_speed.side import Job
from models.bundle import Granularity
from training.objectives.contrastive import Direction
from training.recipe import Recipe
from training.terms.recipe import TAUGHT, Objective

# The one adapter that is trained.
ADAPTER = "sentence"
# What the objectives without a counterpart are compared with.
REFERENCE = "info_nce"


@dataclass(frozen=True)
class Case:
    """Fields of an adapter's recipe, and the class of `sentence_transformers.losses` that computes
    the same; None where none does."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    counterpart: str | None = None


# MSELoss takes the mean over both sides, where embedding_mse adds them: half the weight is its
# loss. hard_negatives has no counterpart: MultipleNegativesRankingLoss gives every text the
# negatives of all the others too, and takes them mined before the first step.
CASES: Mapping[str, Case] = {
    REFERENCE: Case({}, "MultipleNegativesRankingLoss"),
    "info_nce, symmetric": Case(
        {"direction": Direction.SYMMETRIC}, "MultipleNegativesSymmetricRankingLoss"
    ),
    "info_nce, gradient_cache": Case(
        {"gradient_cache": True}, "CachedMultipleNegativesRankingLoss"
    ),
    Objective.EMBEDDING_MSE: Case({"objectives": {Objective.EMBEDDING_MSE: 0.5}}, "MSELoss"),
    **{
        str(each): Case({"objectives": {each: 1.0}})
        for each in Objective
        if each not in (Objective.INFO_NCE, Objective.EMBEDDING_MSE)
    },
}


def taught(case: Case) -> bool:
    """Whether it learns from a teacher."""
    return not TAUGHT.isdisjoint(case.fields.get("objectives", {}))


def recipe(job: Job, languages: tuple[str, ...]) -> Recipe:
    """The recipe that trains a job's case by `polygrain-train adapters`.

    Raises TrainingError where a case does not fit, like masked tokens without a mask token.
    """
    case = CASES[job.case]
    adapter = {
        "granularity": Granularity.SENTENCE,
        "max_tokens": job.max_tokens,
        "steps": job.total_steps,
        "batch_pairs": job.batch_pairs,
        "learning_rate": job.learning_rate,
        "temperature": job.temperature,
        "masking": {"mask_token": job.mask_token},
        **case.fields,
    }
    values = {
        "backbone": job.backbone,
        "teacher": job.teacher if taught(case) else None,
        "languages": languages,
        "precision": job.precision,
        "chunk_tokens": job.chunk_tokens,
        "seed": job.seed,
        "adapters": {ADAPTER: adapter},
    }
    return Recipe.of(values, f"the recipe of {job.case}")
