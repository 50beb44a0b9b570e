"""An encoder whose vectors are cut to their first dimensions, as a caller may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.errors import TrainingError
from training.evaluation.encoder import Encoder, Model
from training.evaluation.similarity import Vectors


@dataclass(frozen=True, slots=True)
class Cut:
    """Reads texts as `encoder` does; of each vector the first `dimensions` are kept."""

    encoder: Encoder
    dimensions: int

    def __post_init__(self) -> None:
        whole = self.encoder.model.dimension
        if not 0 < self.dimensions <= whole:
            raise TrainingError(
                f"--dimensions is {self.dimensions}; vectors of {self.encoder.model.name} have "
                f"{whole}: give 1 to {whole}"
            )

    @property
    def model(self) -> Model:
        """The encoder's, with fewer dimensions."""
        return replace(self.encoder.model, dimension=self.dimensions)

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """As the encoder's own, cut and normalised anew; a zero vector stays zero."""
        kept = self.encoder.embed(texts, adapter)[:, : self.dimensions]
        lengths = np.linalg.norm(kept, axis=1, keepdims=True)
        unit: Vectors = kept / np.maximum(lengths, np.finfo(np.float32).tiny)
        return unit

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """As the encoder's own, cut."""
        words = self.encoder.embed_words(sentences, adapter)
        return [each[:, : self.dimensions] for each in words]
