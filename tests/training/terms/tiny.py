"""A stage of one adapter on the tiny BERT, to take terms of, and its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.tiny_training import sentence
from training import adapters
from training.backbone import Backbone
from training.embedding import Encoder
from training.positives import Positive, Text
from training.recipe import Recipe
from training.terms.term import Setting
from training.terms.total import Total

NAME = "sentence"
LANGUAGES = ("de", "ru", "ja")
CPU = torch.device("cpu")
# The tiny tokenizer has no mask token.
UNKNOWN = {"mask_token": "[UNK]"}


def draw(number: int, size: int) -> list[Positive]:
    """Pairs of English and another language; 60 of them there are, by number."""
    return [pair((number * size + place) % 60) for place in range(size)]


def pair(number: int) -> Positive:
    language = LANGUAGES[number % len(LANGUAGES)]
    texts = [f"{sentence(each, number, 5)} {number}" for each in ("en", language)]
    return Positive(Text(texts[0], NAME, "en"), Text(texts[1], NAME, language))


def open_encoder(folder: object) -> Encoder:
    """The tiny backbone with one adapter."""
    backbone = Backbone.open(str(folder), half_weights=False)
    adapters.attach(backbone.model, [NAME], 4)
    return Encoder(backbone, CPU, 10_000, bfloat16=False)


def trainable(encoder: Encoder) -> list[nn.Parameter]:
    """The adapter's parameters, set to the same random values each time."""
    found = adapters.select(encoder.backbone.model, NAME, train=True)
    torch.manual_seed(0)
    for parameter in found:
        nn.init.normal_(parameter, std=0.3)
        parameter.grad = None
    return found


def setting(
    encoder: Encoder,
    objectives: Mapping[str, float],
    teacher: Encoder | None = None,
    top: Mapping[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401
) -> Setting:
    """What a stage of `objectives` is made from; `fields` are its own, `top` the recipe's."""
    plan = {
        "granularity": "sentence",
        "max_tokens": 16,
        "steps": 5,
        "batch_pairs": 8,
        "learning_rate": 0.02,
        "masking": UNKNOWN,
        "negatives": {"count": 2, "pool": 16},
        "crops": {"queue": 1},  # a batch drawn again would find its own keys there
        **fields,
        "objectives": objectives,
    }
    recipe = Recipe.model_validate(
        {
            "backbone": encoder.backbone.source,
            "teacher": "a teacher",
            "languages": LANGUAGES,
            "adapters": {NAME: plan},
            **(top or {}),
        }
    )
    return Setting(encoder, teacher, recipe, recipe.adapters[NAME], [NAME], draw)


def gradients(made: Setting, number: int = 0) -> tuple[dict[str, float], list[Tensor]]:
    """The metrics of one batch, and the gradient of each parameter."""
    parameters = trainable(made.encoder)
    total = Total(made)
    metrics = dict(total.backward(total.prepare(number), 1.0))
    return metrics, [
        torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in parameters
    ]
