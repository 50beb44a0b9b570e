"""Every objective that a recipe may name, by itself and in a sum."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.terms.tiny import (
    CPU,
    NAME,
    draw,
    gradients,
    setting,
    trainable,
)
from training import adapters
from training.backbone import Backbone
from training.contrastive import Data, Result, contrastive_stage
from training.embedding import Encoder
from training.stage import Stage
from training.terms.recipe import TAUGHT, Objective
from training.terms.total import OWN_TERMS, Total
from training.terms.vectors import VECTOR_TERMS


@pytest.fixture(scope="module")
def teacher(student_folder: Path) -> Encoder:
    backbone = Backbone.open(str(student_folder), half_weights=False)
    return Encoder(backbone, CPU, 100, bfloat16=False, adapted=False)


def test_every_name_is_one_term() -> None:
    assert set(VECTOR_TERMS) | set(OWN_TERMS) == set(Objective)
    assert not set(VECTOR_TERMS) & set(OWN_TERMS)
    assert set(VECTOR_TERMS) >= TAUGHT


@pytest.mark.parametrize("objective", Objective)
def test_every_objective_can_be_learned(
    encoder: Encoder, teacher: Encoder, objective: Objective
) -> None:
    made = setting(encoder, {objective: 1.0}, teacher, direction="symmetric", margin=0.1)
    parameters = trainable(encoder)
    total = Total(made)
    prepared = total.prepare(0)
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        losses.append(total.backward(prepared, 1.0)["loss"])
        optimizer.step()
        total.finish()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("objective", Objective)
def test_chunks_and_the_gradient_cache_change_no_gradient(
    encoder: Encoder, teacher: Encoder, objective: Objective
) -> None:
    top = {"matryoshka_dimensions": [8]}
    plain = setting(encoder, {objective: 1.0}, teacher, top)
    expected, wanted = gradients(plain)
    assert any(each.abs().max() > 1e-5 for each in wanted)
    cached = setting(encoder, {objective: 1.0}, teacher, top, gradient_cache=True)
    found, got = gradients(replace(cached, encoder=replace(encoder, chunk_tokens=40)))
    assert found == pytest.approx(expected, rel=1e-4)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_sum_has_the_weighted_gradients_of_its_parts(encoder: Encoder, teacher: Encoder) -> None:
    weights = {"info_nce": 0.7, "tcm": 0.4, "masked": 0.3, "crops": 0.2, "token_alignment": 1.5}
    metrics, together = gradients(setting(encoder, weights, teacher, anchor=0.5))
    only_anchored = setting(encoder, {"info_nce": 1.0}, teacher, anchor=0.5)
    parts = {name: gradients(setting(encoder, {name: 1.0}, teacher)) for name in weights}
    anchored, with_anchor = gradients(only_anchored)
    expected = [
        anchor - hard + sum(weights[name] * parts[name][1][place] for name in weights)
        for place, (anchor, hard) in enumerate(zip(with_anchor, parts["info_nce"][1], strict=True))
    ]
    for one, other in zip(together, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    for name in weights:
        assert metrics[f"loss.{name}"] == pytest.approx(parts[name][0]["loss"], rel=1e-4)
    assert metrics["loss.anchor"] == pytest.approx(anchored["loss.anchor"], rel=1e-4)
    total = sum(weight * metrics[f"loss.{name}"] for name, weight in weights.items())
    assert metrics["loss"] == pytest.approx(total + 0.5 * metrics["loss.anchor"], rel=1e-5)
    assert "loss.info_nce" not in parts["info_nce"][0]


def test_a_batch_is_a_function_of_its_number(encoder: Encoder, teacher: Encoder) -> None:
    objectives = {"masked": 1.0, "crops": 1.0, "hard_negatives": 1.0, "transliteration": 1.0}
    made = setting(encoder, objectives, teacher)
    first, again, other = (gradients(made, number)[0] for number in (3, 3, 4))
    assert first == again
    assert all(first[f"loss.{name}"] != other[f"loss.{name}"] for name in objectives)
    # Batches 0 and 15 are of the same pairs, and what is drawn within them is not the same.
    assert draw(0, 8) == draw(15, 8)
    first, other = (gradients(made, number)[0] for number in (0, 15))
    assert first["loss.transliteration"] == other["loss.transliteration"]
    assert all(first[f"loss.{name}"] != other[f"loss.{name}"] for name in ("masked", "crops"))


# A stage that does all of them leaves no thread that prepares another batch.
STEPS = 5


def _stage(encoder: Encoder) -> Stage:
    made = setting(
        encoder,
        {"crops": 1.0, "masked": 0.5},
        accumulation_steps=2,
        crops={"queue": 20, "momentum": 0.5},
    )
    data = Data(draw, {}, {})
    result = Result("weights", lambda path: None)
    return contrastive_stage(NAME, encoder, made.recipe, made.plan, [NAME], data, result)


def test_a_stage_with_a_queue_goes_on_where_it_was_cut(encoder: Encoder) -> None:
    trainable(encoder)
    stage = _stage(encoder)
    for step in range(STEPS):
        stage.step(step)
    unbroken = adapters.weights(encoder.backbone.model, NAME)
    trainable(encoder)
    stage = _stage(encoder)
    for step in range(2):
        stage.step(step)
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in stage.state.items()}, file)
    # To its end too: what came after the checkpoint is lost by a cut.
    for step in range(2, STEPS):
        stage.step(step)
    for parameter in trainable(encoder):
        nn.init.zeros_(parameter)
    stage = _stage(encoder)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert {"crops.keys", "crops.queue"} < set(saved)
    for name, part in stage.state.items():
        part.load_state_dict(saved[name])
    for step in range(2, STEPS):
        stage.step(step)
    for key, value in adapters.weights(encoder.backbone.model, NAME).items():
        assert torch.equal(value, unbroken[key]), key
