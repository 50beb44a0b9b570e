from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.tiny_training import sentence
from training import adapters
from training.backbone import Backbone, masked_mean
from training.contrastive import learning_rate
from training.recipe import AdapterRecipe, Recipe
from training.terms.vectors import Anchor
from training.terms.views import View
from training.trainer import Corpus, finished_adapter, train

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


def _english_kept(corpus: Corpus, recipe: Recipe, run: Path) -> float:
    """The lowest cosine between where the trained adapter and the plain backbone put a text."""
    train(recipe, corpus, run)
    backbone = Backbone.open(recipe.backbone, half_weights=False)
    adapters.attach(backbone.model, ["phrase"], recipe.reduction_factor)
    adapters.load_weights(backbone.model, "phrase", adapters.load(finished_adapter(run, "phrase")))
    ids, mask = backbone.pad(
        backbone.tokenize([f"{sentence('en', number, 2)} {number}" for number in range(20)], 16)
    )
    vectors = []
    for name in ("phrase", None):
        adapters.select(backbone.model, name)
        with torch.no_grad():
            states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors.append(masked_mean(states, mask))
    return float(cosine_similarity(vectors[0], vectors[1], dim=-1).min())


def test_an_anchor_keeps_the_left_texts_where_the_backbone_puts_them(
    corpus: Corpus, student_folder: Path, tmp_path: Path
) -> None:
    plan = PLAN.model_copy(
        update={"steps": 30, "batch_pairs": 16, "learning_rate": 0.02, "max_tokens": 16}
    )
    kept = {}
    for anchor in (0.0, 20.0):
        adapter = plan.model_copy(update={"anchor": anchor})
        recipe = Recipe(
            backbone=str(student_folder), languages=("de", "fr"), adapters={"phrase": adapter}
        )
        kept[anchor] = _english_kept(corpus, recipe, tmp_path / str(anchor))
    assert kept[0.0] < 0.9
    assert kept[20.0] > kept[0.0] + 0.05


def test_the_anchor_is_the_mean_distance() -> None:
    plain, left = torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 0.6, 0.8], [1.0, 0, 0]])
    loss = Anchor().loss(left, torch.rand(3, 3), {View.PLAIN_LEFT: plain})
    assert float(loss) == pytest.approx(1 - (1 + 0.6 + 0) / 3)
