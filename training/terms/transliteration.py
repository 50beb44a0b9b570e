"""Texts and their romanisations, which cross the border between scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from training.embedding import Batch
from training.objectives.contrastive import nt_xent
from training.objectives.matryoshka import matryoshka
from training.positives import Text, sides, tokenized
from training.romanisation import is_romanised, romanise
from training.terms.backward import backward
from training.terms.term import NOTHING, Draw, OwnTerm, Setting


class Transliteration(OwnTerm):
    """`nt_xent` between the batch's texts that are not in Latin letters and what they are there
    (TransliCo, Liu et al., 2024)."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def prepare(self, draw: Draw) -> Batch | None:
        """The texts, then their romanisations; None where there are no two."""
        encoder = self._setting.encoder
        found = [text for text in sides(draw.positives) if not is_romanised(text.text)]
        read = [Text(romanise(text.text), text.adapter, text.language) for text in found]
        # A text of signs without a reading would be a pair with nothing.
        kept = [place for place, text in enumerate(read) if text.text]
        if len(kept) < 2:
            return None
        texts = [found[place] for place in kept] + [read[place] for place in kept]
        return encoder.batch(tokenized(encoder.backbone, self._setting.recipe, texts))

    def backward(self, prepared: Batch | None, scale: float) -> Mapping[str, float]:
        """A batch without two such texts gives nothing."""
        if prepared is None:
            return NOTHING
        setting = self._setting
        one_width = partial(nt_xent, temperature=setting.plan.temperature)

        def objective(vectors: Tensor) -> Tensor:
            left, right = vectors.chunk(2)
            return matryoshka(one_width, left, right, setting.recipe.matryoshka_dimensions)

        encode, cached = setting.encoder.encode, setting.plan.gradient_cache
        loss = backward(encode, prepared.chunks, prepared.place, objective, scale, cached)
        return {"loss": loss.item()}
