"""The kinds of adapters, as a recipe names them: `kind = "houlsby"`, or with what is not default,
`kind = { name = "lora", rank = 16 }`.

All of them can stand together in one exported graph (docs/adr/0008-adapter-kinds.md); a kind that
cannot is refused here, when the recipe is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from training.recipe_file import RecipeValue

# Hidden size over bottleneck, where neither the adapter nor the recipe says otherwise.
REDUCTION_FACTOR = 16.0

_REFUSED = {
    "fusion": (
        "AdapterFusion computes every fused adapter and three matrices of the hidden size squared "
        "in each layer for each token, in rows of other adapters too, since one graph serves all; "
        "average the adapters instead: [averages.NAME] with `of`"
    ),
    "prefix-tuning": (
        "prefixes lengthen the keys and values of their own rows only, and one batch mixes "
        "adapters; use lora, which changes attention too"
    ),
}


class _Bottleneck(RecipeValue):
    # Hidden size over the width of the bottleneck. None: the recipe's.
    reduction_factor: Annotated[float, Field(ge=1)] | None = None


class Pfeiffer(_Bottleneck):
    """One bottleneck in a layer, behind its feed-forward sub-layer (Pfeiffer et al., 2021):
    x + U relu(D x + b) + c, where D reads behind the layer norm. L layers of hidden size d and
    m = d // reduction_factor have L (2 d m + m + d) weights."""

    name: Literal["pfeiffer"] = "pfeiffer"


class Houlsby(_Bottleneck):
    """Two bottlenecks in a layer, behind attention and behind feed-forward (Houlsby et al., 2019),
    with swish: twice the weights of `Pfeiffer`."""

    name: Literal["houlsby"] = "houlsby"


class Projected(StrEnum):
    """A linear layer that LoRA may update."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    # Of the feed-forward sub-layer: into its inner width, and back.
    INTERMEDIATE = "intermediate"
    OUTPUT = "output"


class Lora(RecipeValue):
    """A low-rank update of chosen linear layers, W + alpha / rank · B A, with B zero at the start
    (Hu et al., 2021). Each of them, n inputs to k outputs, has rank (n + k) weights."""

    name: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 8.0
    projections: Annotated[tuple[Projected, ...], Field(min_length=1)] = (
        Projected.QUERY,
        Projected.VALUE,
    )

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(self.projections)) != len(self.projections):
            raise ValueError("projections: name each once")
        return self


class Projection(_Bottleneck):
    """No layer is touched: a head on the pooled vector v, v + U relu(D v + b) + c, with U and c
    zero at the start. 2 d m + m + d weights, the cheapest (as uCLIP, Chung et al., 2025, trains
    nothing but a head on frozen encoders). An `anchor` in the recipe keeps English where it was."""

    name: Literal["projection"] = "projection"


def _named(value: object) -> object:
    """A bare name as the kind of that name; ValueError for one that no graph can carry."""
    given = {"name": value} if isinstance(value, str) else value
    name = given.get("name") if isinstance(given, Mapping) else None
    if isinstance(name, str) and name in _REFUSED:
        raise ValueError(f"{name} cannot be exported: {_REFUSED[name]}")
    return given


Kind = Annotated[
    Annotated[Pfeiffer | Houlsby | Lora | Projection, Field(discriminator="name")],
    BeforeValidator(_named),
]


def resolved(kind: Kind, reduction_factor: float) -> Kind:
    """`kind` with its reduction factor, or this one where it has none of its own."""
    if isinstance(kind, Lora) or kind.reduction_factor is not None:
        return kind
    return kind.model_copy(update={"reduction_factor": reduction_factor})


def averaged(kind: Kind, count: int) -> Kind:
    """The kind of the average of `count` adapters of `kind`: for LoRA one of their joint rank and
    the same scale, so that it holds the mean of their updates exactly; else the same."""
    if isinstance(kind, Lora):
        update = {"rank": kind.rank * count, "alpha": kind.alpha * count}
        return kind.model_copy(update=update)
    return kind
