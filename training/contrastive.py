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
from torch.nn.functional import cosine_similarity
from torch.optim import AdamW

from training import adapters
from training.ahead import Ahead
from training.embedding import Batch, Encoder, Row
from training.gradcache import cached_backward
from training.metrics import Metrics
from training.objectives.contrastive import info_nce
from training.objectives.matryoshka import matryoshka
from training.recipe import ContrastiveRecipe, Recipe
from training.stage import Stage, Validation
from training.validation import averaged, measure

GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """A text and the adapter of its granularity."""

    text: str
    adapter: str


@dataclass(frozen=True, slots=True)
class Positive:
    """Two texts that mean the same; the left is English where only one of them is."""

    left: Text
    right: Text


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
) -> Stage:
    """A stage that trains the adapters `trained` by `plan`; other adapters stay as they are."""
    model = encoder.backbone.model
    parameters = [
        parameter for each in trained for parameter in adapters.select(model, each, train=True)
    ]
    for parameter in parameters:  # selecting one adapter froze the one before
        parameter.requires_grad_(True)
    optimizer = AdamW(parameters, lr=plan.learning_rate, eps=1e-8)
    loss = partial(info_nce, temperature=plan.temperature, direction=plan.direction)
    prefixes = recipe.matryoshka_dimensions

    def objective(left: Tensor, right: Tensor) -> Tensor:
        return matryoshka(loss, left, right, prefixes)

    def prepare(number: int) -> tuple[Batch, Batch | None]:
        rows = _rows(encoder, recipe, data.draw(number, plan.batch_pairs))
        if not plan.anchor:
            return encoder.batch(rows), None
        # The left texts once more, as their adapters cut them, through no adapter.
        plain = [Row(row.ids, None) for row in rows[: len(rows) // 2]]
        return encoder.batch(rows), encoder.batch(plain)

    batches = Ahead(prepare, plan.steps * plan.accumulation_steps)

    def step(number: int) -> Metrics:
        rate = learning_rate(number, plan)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        total, texts = 0.0, 0
        for part in range(plan.accumulation_steps):
            batch, anchors = batches(number * plan.accumulation_steps + part)
            anchored = _anchored(encoder, anchors, objective, plan.anchor)
            total += _backward(encoder, batch, anchored, plan).item()
            texts += len(batch.place)
        norm = nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
        metrics = {"loss": total / plan.accumulation_steps, "gradient_norm": norm.item()}
        return metrics | {"learning_rate": rate, "texts": texts}

    validation = None
    if recipe.validation is not None:
        # Tokenized here, before the thread of the batches uses the tokenizer.
        held_out = {
            each: encoder.batch(_rows(encoder, recipe, positives))
            for each, positives in data.held_out.items()
        }

        def validate() -> Metrics:
            found = {}
            with torch.no_grad():
                for each, batch in held_out.items():
                    left, right = encoder.embed(batch).chunk(2)
                    found[each] = measure(left, right, objective, prefixes)
            return averaged(found)

        best = "validation_accuracy" if recipe.validation.keep_best else None
        validation = Validation(validate, recipe.validation.every_steps, best)
    return Stage(
        name=name,
        steps=plan.steps,
        step=step,
        state={f"adapter.{each}": AdapterState(model, each) for each in trained}
        | {"optimizer": optimizer},
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


def _rows(encoder: Encoder, recipe: Recipe, positives: Sequence[Positive]) -> list[Row]:
    """All left texts, then all right ones, tokenized and cut for their adapters."""
    texts = [each.left for each in positives] + [each.right for each in positives]
    rows: dict[int, Row] = {}
    for name in {text.adapter for text in texts}:
        places = [place for place, text in enumerate(texts) if text.adapter == name]
        found = encoder.backbone.tokenize(
            [texts[place].text for place in places], recipe.adapters[name].max_tokens
        )
        for place, ids in zip(places, found, strict=True):
            rows[place] = Row(ids, name)
    return [rows[place] for place in range(len(texts))]


def _anchored(
    encoder: Encoder,
    anchors: Batch | None,
    objective: Callable[[Tensor, Tensor], Tensor],
    weight: float,
) -> Callable[[Tensor, Tensor], Tensor]:
    """`objective`, and the left vectors' distance from where the plain backbone puts them."""
    if anchors is None:
        return objective
    with torch.no_grad():
        plain = encoder.embed(anchors)

    def anchored(left: Tensor, right: Tensor) -> Tensor:
        distance = 1 - cosine_similarity(left, plain, dim=-1).mean()
        return objective(left, right) + weight * distance

    return anchored


def _backward(
    encoder: Encoder,
    batch: Batch,
    objective: Callable[[Tensor, Tensor], Tensor],
    plan: ContrastiveRecipe,
) -> Tensor:
    """Add this batch's share of the step's gradient to the parameters; return the batch's loss."""
    place = batch.place.to(encoder.device)

    def halves(vectors: Tensor) -> Tensor:
        left, right = vectors[place].chunk(2)
        return objective(left, right)

    scale = 1 / plan.accumulation_steps
    if plan.gradient_cache:
        return cached_backward(encoder.encode, batch.chunks, halves, scale)
    loss = halves(torch.cat([encoder.encode(chunk) for chunk in batch.chunks]))
    (loss * scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach()
