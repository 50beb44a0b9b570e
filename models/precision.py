"""The arithmetics that a bundle can be run in, and what is known of how far each strays."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# What a precision must keep to be the default: on average, of the nearest neighbours, and of a
# vector whoever shares its batch.
MIN_MEAN_COSINE = 0.999
MIN_TOP10_OVERLAP = 0.97
MAX_BATCH_DRIFT = 1e-3


class Precision(StrEnum):
    """The arithmetic that a model is computed in, whatever its weights are stored as."""

    FLOAT32 = "float32"
    # Of the float32 graph: the runtime rounds as it computes. It has no graph of its own.
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    FLOAT16 = "float16"


_Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]  # with room for rounding
_Words = Annotated[str, Field(min_length=1, max_length=300)]


class Fidelity(BaseModel):
    """How near vectors of one precision are to those of float32, as it was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Of each text's vector with its float32 vector.
    mean_cosine: _Cosine
    worst_cosine: _Cosine
    # Of a text's ten nearest among the others, the share that float32 has among its ten.
    top10_overlap: Annotated[float, Field(ge=0, le=1)]
    # The largest of 1 - cosine between a text's vectors alone and in a batch with padding, and the
    # largest change of a component.
    batch_drift: Annotated[float, Field(ge=0)]
    largest_change: Annotated[float, Field(ge=0)]
    texts: Annotated[int, Field(gt=0)]
    # Where the texts are from, what computed, and on what.
    source: _Words
    runtime: _Words
    processor: _Words

    @property
    def qualifies(self) -> bool:
        """Whether vectors are near enough to be the default in place of float32."""
        return (
            self.mean_cosine >= MIN_MEAN_COSINE
            and self.top10_overlap >= MIN_TOP10_OVERLAP
            and self.batch_drift <= MAX_BATCH_DRIFT
        )
