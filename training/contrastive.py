"""A stage that trains adapters on pairs that mean the same, each text through its own adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from models.bundle import Granularity
from training import adapters
from training.ahead import Ahead
from training.embedding import Encoder
from training.metrics import Metrics
from training.objectives.contrastive import info_nce
from training.objectives.gather import average_gradients
from training.objectives.matryoshka import matryoshka
from training.positives import Positive, sides, tokenized
from training.processes import place, processes
from training.recipe import AdapterRecipe, ContrastiveRecipe, Recipe
from training.stage import Stage, Validation
from training.terms.term import Setting
from training.terms.total import Total
from training.validation import averaged, measure

GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Data:
    """What a stage trains on and what it is measured on."""

    # (number, size) -> the batch so numbered; a function of both alone.
    draw: Callable[[int, int], Sequence[Positive]]
    # By name, each measured among its own; empty where nothing is held out.
    held_out: Mapping[str, Sequence[Positive]]
    # How much there is to draw from, for the run's record.
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Result:
    """The file or folder that a stage ends in."""

    name: str
    write: Callable[[Path], object]


def contrastive_stage(
    name: str,
    encoder: Encoder,
    recipe: Recipe,
    plan: ContrastiveRecipe,
    trained: Sequence[str],
    data: Data,
    result: Result,
    teacher: Encoder | None = None,
) -> Stage:
    """A stage that trains the adapters `trained` by `plan`; other adapters stay as they are.

    `teacher` is for the objectives that need one.
    """
    model = encoder.backbone.model
    parameters = [
        parameter for each in trained for parameter in adapters.select(model, each, train=True)
    ]
    for parameter in parameters:  # selecting one adapter froze the one before
        parameter.requires_grad_(True)
    optimizer = AdamW(parameters, lr=plan.learning_rate, eps=1e-8)
    total = Total(Setting(encoder, teacher, recipe, plan, trained, _own_share(data.draw)))
    # What is held out is tokenized here, before the thread of the batches uses the tokenizer.
    validation = _validation(encoder, recipe, plan, data, total)
    batches = Ahead(total.prepare, plan.steps * plan.accumulation_steps)

    def step(number: int) -> Metrics:
        rate = learning_rate(number, plan)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        texts = 0
        for part in range(plan.accumulation_steps):
            prepared = batches(number * plan.accumulation_steps + part)
            for key, value in total.backward(prepared, 1 / plan.accumulation_steps).items():
                sums[key] = sums.get(key, 0.0) + value
            texts += prepared.texts * processes()
        average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
        total.finish()
        metrics = {key: value / plan.accumulation_steps for key, value in sums.items()}
        return metrics | {"gradient_norm": norm.item(), "learning_rate": rate, "texts": texts}

    return Stage(
        name=name,
        steps=plan.steps,
        step=step,
        state={f"adapter.{each}": AdapterState(model, each) for each in trained}
        | {"optimizer": optimizer}
        | total.state,
        result=result.name,
        write_result=result.write,
        seed=recipe.seed,
        validation=validation,
    )


@dataclass(frozen=True, slots=True)
class AdapterState:
    """The weights of one adapter, as a part of a checkpoint."""

    model: nn.Module
    name: str

    def state_dict(self) -> dict[str, Any]:
        """The weights, keyed without the adapter's name."""
        return adapters.weights(self.model, self.name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the weights."""
        adapters.load_weights(self.model, self.name, state_dict)


def learning_rate(step: int, plan: ContrastiveRecipe) -> float:
    """The rate of `step`: linear warm-up, then one cosine down to zero at the last step."""
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return plan.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _own_share(
    draw: Callable[[int, int], Sequence[Positive]],
) -> Callable[[int, int], Sequence[Positive]]:
    """Of a batch what this process trains on: all of them together have the whole, in order, but
    for a rest that cannot be parted evenly."""

    def share(number: int, size: int) -> Sequence[Positive]:
        everything = draw(number, size)
        count = len(everything) // processes()
        return everything[place() * count : (place() + 1) * count]

    return share


def _validation(
    encoder: Encoder, recipe: Recipe, plan: ContrastiveRecipe, data: Data, total: Total
) -> Validation | None:
    """How what is held out is measured: texts by `info_nce` and retrieval, whatever the stage
    minimises; the words of a word adapter by theirs."""
    if recipe.validation is None:
        return None
    words = total.words
    if isinstance(plan, AdapterRecipe) and plan.granularity is Granularity.WORD and words:
        measured = {each: words.batch(found) for each, found in data.held_out.items()}
        measure_words = words.measure

        def validate() -> Metrics:
            return averaged({each: measure_words(batch) for each, batch in measured.items()})

    else:
        held_out = {
            each: encoder.batch(tokenized(encoder.backbone, recipe, sides(positives)))
            for each, positives in data.held_out.items()
        }
        prefixes = recipe.matryoshka_dimensions
        loss = partial(info_nce, temperature=plan.temperature, direction=plan.direction)

        def objective(left: Tensor, right: Tensor) -> Tensor:
            return matryoshka(loss, left, right, prefixes)

        def validate() -> Metrics:
            found = {}
            with torch.no_grad():
                for each, batch in held_out.items():
                    left, right = encoder.embed(batch).chunk(2)
                    found[each] = measure(left, right, objective, prefixes)
            return averaged(found)

    best = "validation_accuracy" if recipe.validation.keep_best else None
    return Validation(validate, recipe.validation.every_steps, best)
