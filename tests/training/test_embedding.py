from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn

from training import adapters
from training.adapters.kinds import Houlsby, Kind, Lora, Pfeiffer, Projection
from training.backbone import Backbone, hold_in_bfloat16, masked_mean
from training.embedding import Encoder, Row
from training.student.model import StudentConfig, StudentModel
from training.terms.masked import token_table

CPU = torch.device("cpu")
TEXTS = ["Haus", "red house by the river", "a", "old stone bridge " * 4, "Brief und Garten"]


def test_chunks_change_no_vector(bert_folder: Path) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    adapters.attach(backbone.model, [], 4)
    rows = [Row(ids, None) for ids in backbone.tokenize(TEXTS, 32)]
    with torch.no_grad():
        encoders = [Encoder(backbone, CPU, tokens, False) for tokens in (1, 12, 40, 10_000)]
        alone = torch.cat([encoders[0].embed(encoders[0].batch([row])) for row in rows])
        for encoder in encoders:
            batch = encoder.batch(rows)
            for chunk in batch.chunks:
                assert chunk.ids.numel() <= encoder.chunk_tokens or len(chunk.ids) == 1
            assert torch.allclose(encoder.embed(batch), alone, atol=1e-5)


def test_each_text_goes_through_its_own_adapter_and_trains_what_was_trainable(
    bert_folder: Path,
) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    torch.manual_seed(0)
    adapters.attach(backbone.model, ["a", "b"], 4)
    for name in ("b", "a"):
        for parameter in adapters.select(backbone.model, name, train=True):
            nn.init.normal_(parameter, std=0.5)
    trainable = {name for name, each in backbone.model.named_parameters() if each.requires_grad}
    encoder = Encoder(backbone, CPU, 30, False)
    names: list[str | None] = ["b", None, "a", "b", "a"]
    ids = backbone.tokenize(TEXTS, 32)
    vectors = encoder.embed(
        encoder.batch([Row(row, name) for row, name in zip(ids, names, strict=True)])
    )
    for row, through, vector in zip(ids, names, vectors, strict=True):
        adapters.select(backbone.model, through)
        padded, mask = backbone.pad([row])
        with torch.no_grad():
            states = backbone.model(input_ids=padded, attention_mask=mask).last_hidden_state
        assert torch.allclose(vector, masked_mean(states, mask)[0], atol=1e-5)
    for name, each in backbone.model.named_parameters():
        each.requires_grad_(name in trainable)
    vectors.sum().backward()  # type: ignore[no-untyped-call]
    moved = {name for name, each in backbone.model.named_parameters() if each.grad is not None}
    assert moved == trainable


def test_bfloat16_is_near_float32_and_not_it(bert_folder: Path) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    adapters.attach(backbone.model, [], 4)
    rows = [Row(ids, None) for ids in backbone.tokenize(TEXTS, 32)]
    with torch.no_grad():
        exact, rounded = (
            (encoder := Encoder(backbone, CPU, 100, bfloat16)).embed(encoder.batch(rows))
            for bfloat16 in (False, True)
        )
    assert rounded.dtype == torch.float32
    difference = (exact - rounded).abs().max().item()
    assert difference == pytest.approx(0, abs=0.1)
    assert difference > 1e-4


@pytest.mark.parametrize("kind", [Pfeiffer(), Houlsby(), Lora(rank=2), Projection()])
@pytest.mark.parametrize("family", ["bert_folder", "xlmr_folder", "student_folder"])
def test_weights_held_in_bfloat16_change_no_bit(
    family: str, kind: Kind, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    found = []
    for held in (False, True):
        backbone = Backbone.open(str(folder), half_weights=False)
        torch.manual_seed(0)
        adapters.attach_kinds(backbone.model, {"a": kind})
        trained = adapters.select(backbone.model, "a", train=True)
        for parameter in trained:
            nn.init.normal_(parameter, std=0.3)
        if held:
            hold_in_bfloat16(backbone.model, trained)
            assert {each.dtype for each in trained} == {torch.float32}
            dtypes = {each.dtype for each in backbone.model.parameters()}
            assert dtypes == {torch.float32, torch.bfloat16}
        encoder = Encoder(backbone, CPU, 40, True)
        batch = encoder.batch([Row(ids, "a") for ids in backbone.tokenize(TEXTS, 32)])
        vectors = encoder.embed(batch)
        vectors.square().sum().backward()  # type: ignore[no-untyped-call]
        found.append([vectors.detach(), token_table(backbone), *(each.grad for each in trained)])
    for before, after in zip(*found, strict=True):
        assert before is not None
        assert after is not None
        assert torch.equal(before, after)


def test_a_rotated_table_stays_in_full_precision() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = StudentModel(StudentConfig(vocab_size=20, intermediate_size=64, rotated=True, **sizes))
    nn.init.orthogonal_(model.get_parameter("rotation.weight"))
    backbone = Backbone(model, Tokenizer(WordLevel()), 0, 64, "made here")
    before = token_table(backbone)
    hold_in_bfloat16(model)
    assert torch.equal(token_table(backbone), before)
    lowered = model.get_parameter("encoder.layer.0.attention.query.weight")
    assert lowered.dtype == torch.bfloat16
