"""Two crops of one text, against a queue of earlier ones: contrast without translations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.adapters.weights import parameters
from training.augmentation.crops import crop_pair
from training.embedding import Batch
from training.objectives.contrastive import momentum_contrast
from training.objectives.matryoshka import matryoshka
from training.objectives.momentum import KeyQueue, momentum_update
from training.positives import Text, tokenized
from training.terms.backward import backward
from training.terms.term import NOTHING, Draw, OwnTerm, Setting

_STREAM = 0xC0


class KeyEncoder:
    """The weights that give keys: a copy of those that are trained, which follows them. It is a
    part of a stage's state."""

    def __init__(self, trained: Sequence[nn.Parameter], momentum: float) -> None:
        """A copy of `trained` as they are."""
        self._trained, self._momentum = list(trained), momentum
        self._own = [each.detach().clone() for each in self._trained]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model computes with these weights, without gradient."""
        own = [each.data for each in self._trained]
        for parameter, value in zip(self._trained, self._own, strict=True):
            parameter.data = value
        try:
            with torch.no_grad():
                yield
        finally:
            for parameter, value in zip(self._trained, own, strict=True):
                parameter.data = value

    def follow(self) -> None:
        """Move towards the trained weights."""
        momentum_update(self._own, self._trained, self._momentum)

    def state_dict(self) -> dict[str, Any]:
        """The weights, in the order of the trained ones."""
        return {"weights": [each.clone() for each in self._own]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the weights."""
        for own, value in zip(self._own, state_dict["weights"], strict=True):
            own.copy_(value)


class Crops(OwnTerm):
    """`momentum_contrast` of two crops of each right text (Contriever, Izacard et al., 2022; MoCo,
    He et al., 2020). The batch's other keys are negatives too, from the first step on."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        encoder, plan = setting.encoder, setting.plan.crops
        model = encoder.backbone.model
        trained = [each for name in setting.trained for _, each in parameters(model, name)]
        self._keys = KeyEncoder(trained, plan.momentum)
        self._queue = KeyQueue(plan.queue, encoder.backbone.dimension, encoder.device)
        self.state = {"crops.keys": self._keys, "crops.queue": self._queue}

    def prepare(self, draw: Draw) -> tuple[Batch, Batch] | None:
        """The first crops and the second; None where no text is long enough."""
        setting = self._setting
        plan, rng = setting.plan.crops, draw.rng(_STREAM)
        first, second = [], []
        for right in (each.right for each in draw.positives):
            found = crop_pair(right.text, rng, plan.shortest, plan.longest)
            if found is not None:
                first.append(Text(found[0], right.adapter, right.language))
                second.append(Text(found[1], right.adapter, right.language))
        if not first:
            return None
        encoder, recipe = setting.encoder, setting.recipe
        queries, keys = (tokenized(encoder.backbone, recipe, each) for each in (first, second))
        return encoder.batch(queries), encoder.batch(keys)

    def backward(self, prepared: tuple[Batch, Batch] | None, scale: float) -> Mapping[str, float]:
        """Contrast, then put the keys into the queue; a batch without crops gives nothing."""
        if prepared is None:
            return NOTHING
        batch, held = prepared
        encoder, plan = self._setting.encoder, self._setting.plan
        with self._keys.in_place():
            keys = encoder.embed(held)
        queue = self._queue.keys

        def one_width(queries: Tensor, keys: Tensor) -> Tensor:
            cut = queue[:, : queries.shape[1]]
            return momentum_contrast(queries, keys, cut, plan.crops.temperature, in_batch=True)

        def objective(queries: Tensor) -> Tensor:
            return matryoshka(one_width, queries, keys, self._setting.recipe.matryoshka_dimensions)

        cached = plan.gradient_cache
        loss = backward(encoder.encode, batch.chunks, batch.place, objective, scale, cached)
        self._queue.push(keys)
        return {"loss": loss.item()}

    def finish(self) -> None:
        """The key encoder follows, once a step."""
        self._keys.follow()
