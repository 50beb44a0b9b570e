"""What a term of a stage's sum is given, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from training.embedding import Encoder, Row
from training.positives import Positive, sides, tokenized
from training.recipe import ContrastiveRecipe, Recipe
from training.stage import Stateful
from training.terms.views import View


@dataclass(frozen=True, slots=True)
class Setting:
    """What the terms of a stage are made from."""

    encoder: Encoder
    teacher: Encoder | None
    recipe: Recipe
    plan: ContrastiveRecipe
    # Names of the adapters that the stage trains.
    trained: Sequence[str]
    # (number, size) -> the batch so numbered.
    draw: Callable[[int, int], Sequence[Positive]]


class Draw:
    """A batch as it was drawn, for terms to prepare from."""

    def __init__(self, number: int, positives: Sequence[Positive], setting: Setting) -> None:
        self.number, self.positives = number, positives
        self._setting = setting

    @cached_property
    def rows(self) -> list[Row]:
        """All left texts, then all right ones, tokenized and cut for their adapters."""
        setting = self._setting
        return tokenized(setting.encoder.backbone, setting.recipe, sides(self.positives))

    def rng(self, stream: int) -> np.random.Generator:
        """Random numbers of this batch and of no other, for the term that calls itself `stream`."""
        return np.random.default_rng([self._setting.recipe.seed, self.number, stream])


class VectorTerm(ABC):
    """A term over the pooled vectors of the pairs, which one forward pass gives to all of them."""

    @property
    def views(self) -> frozenset[View]:
        """What it wants to know of the pairs besides."""
        return frozenset()

    @abstractmethod
    def loss(self, left: Tensor, right: Tensor, views: Mapping[View, Tensor]) -> Tensor:
        """A scalar; `left` and `right` are (pairs, dim), each view (pairs, its own dim)."""


class OwnTerm(ABC):
    """A term with rows, a forward and a backward pass of its own."""

    # What it keeps from step to step, as parts of a checkpoint.
    state: Mapping[str, Stateful] = MappingProxyType({})

    @abstractmethod
    def prepare(self, draw: Draw) -> Any:  # noqa: ANN401 - what `backward` of the same term takes
        """What `backward` needs of a batch, a function of the batch and its number alone; called
        in the thread that uses the tokenizer."""

    @abstractmethod
    def backward(self, prepared: Any, scale: float) -> Mapping[str, float]:  # noqa: ANN401
        """Add the gradient of `scale` x loss to the parameters; return `loss` as it is, and other
        metrics by names of their own."""

    def finish(self) -> None:
        """What is to be done after the optimizer's step."""
        return


NOTHING: Mapping[str, float] = MappingProxyType({"loss": 0.0})
