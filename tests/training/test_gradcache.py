from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from training import adapters
from training.backbone import Backbone
from training.embedding import Batch, Encoder, Row
from training.gradcache import cached_backward
from training.objectives.contrastive import Direction, info_nce

TEXTS = [f"{first} {second}" for first in ("red", "old", "Haus", "pont") for second in range(8)]


@pytest.fixture
def encoder(bert_folder: Path) -> Encoder:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    torch.manual_seed(0)
    adapters.attach(backbone.model, ["phrase"], 4)
    for parameter in adapters.select(backbone.model, "phrase", train=True):
        nn.init.normal_(parameter, std=0.3)
    return Encoder(backbone, torch.device("cpu"), chunk_tokens=20, bfloat16=False)


def _batch(encoder: Encoder, texts: list[str]) -> Batch:
    rows = encoder.backbone.tokenize(texts, 16)
    return encoder.batch([Row(ids, "phrase") for ids in rows])


def _objective(vectors: Tensor) -> Tensor:
    left, right = vectors.chunk(2)
    return info_nce(left, right, 0.05, Direction.SYMMETRIC)


def _gradients(encoder: Encoder) -> list[Tensor]:
    gradients = []
    for parameter in encoder.backbone.model.parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            gradients.append(parameter.grad.clone())
            parameter.grad = None
    return gradients


def test_gradients_are_those_of_one_big_batch(encoder: Encoder) -> None:
    batch = _batch(encoder, TEXTS)
    assert len(batch.chunks) >= 5
    loss = cached_backward(encoder.encode, batch.chunks, lambda v: _objective(v[batch.place]), 0.5)
    cached = _gradients(encoder)
    whole = Encoder(encoder.backbone, encoder.device, 10_000, False)
    big = _batch(whole, TEXTS)
    assert len(big.chunks) == 1
    expected = _objective(whole.embed(big))
    (expected * 0.5).backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for found, wanted in zip(cached, _gradients(encoder), strict=True):
        assert wanted.abs().max() > 1e-6
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


def test_dropout_falls_alike_both_times() -> None:
    # With an objective that is linear in the vectors, weight's gradient is the inputs that dropout
    # kept, and the loss says which ones it kept in the first pass.
    weight = torch.ones(1, requires_grad=True)
    chunks = [torch.arange(1.0, 65.0), torch.arange(65.0, 129.0)]
    torch.manual_seed(5)
    loss = cached_backward(
        lambda chunk: dropout(chunk, 0.5)[:, None] * weight,
        chunks,
        lambda vectors: vectors.sum() + 0 * torch.rand(1).sum(),
    )
    after = torch.rand(4)
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(loss.item())
    torch.manual_seed(5)
    kept = sum(dropout(chunk, 0.5).sum().item() for chunk in chunks)
    assert loss.item() == pytest.approx(kept)
    torch.rand(1)
    assert torch.equal(torch.rand(4), after)  # the generator goes on as after one pass


class _Held:
    """A tensor that a graph keeps, counted while it lives."""

    bytes_now = 0
    bytes_most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        size = tensor.numel() * tensor.element_size()
        _Held.bytes_now += size
        _Held.bytes_most = max(_Held.bytes_most, _Held.bytes_now)
        weakref.finalize(self, _Held.release, size)

    @classmethod
    def release(cls, size: int) -> None:
        cls.bytes_now -= size


def _most_held(encoder: Encoder, batch: Batch, cached: bool) -> int:
    _Held.bytes_now = _Held.bytes_most = 0
    with torch.autograd.graph.saved_tensors_hooks(_Held, lambda held: held.tensor):
        if cached:
            cached_backward(encoder.encode, batch.chunks, lambda v: v.square().sum())
        else:
            encoder.embed(batch).square().sum().backward()  # type: ignore[no-untyped-call]
    return _Held.bytes_most


def test_memory_holds_one_chunk_whatever_the_batch(encoder: Encoder) -> None:
    small, large = _batch(encoder, TEXTS), _batch(encoder, TEXTS * 4)
    direct = _most_held(encoder, large, False) / _most_held(encoder, small, False)
    assert direct > 3
    assert _most_held(encoder, large, True) < 1.1 * _most_held(encoder, small, True)


def test_an_objective_of_something_else_is_refused() -> None:
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="does not depend on the vectors"):
        cached_backward(lambda chunk: chunk * weight, [torch.ones(2, 1)], lambda _: weight.sum())
