"""A run's adapters as the trainer computes them: an encoder for the evaluation without a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch.nn.functional import normalize

from training import adapters
from training.backbone import Backbone
from training.batching import of_like_length
from training.embedding import Encoder, Row
from training.evaluation.encoder import Model
from training.evaluation.similarity import Vectors
from training.evaluation.word_links import word_means
from training.recipe import Recipe
from training.trainer import finished_adapter


@dataclass(frozen=True, slots=True)
class RunReader:
    """Texts through the adapters of one run, in float32. It is the evaluation's `Encoder`."""

    encoder: Encoder
    recipe: Recipe

    @classmethod
    def open(cls, recipe: Recipe, run: Path | None, device: torch.device) -> Self:
        """The adapters of the finished `run` of `recipe`, or without one the fresh adapters that
        its training starts from.

        Raises TrainingError where there is no such backbone, or an adapter is not as the recipe
        says.
        """
        backbone = Backbone.open(recipe.backbone, recipe.half_weights)
        torch.manual_seed(recipe.seed)  # as the trainer does before it attaches them
        adapters.attach_kinds(backbone.model, recipe.kinds)
        if run is not None:
            for name in recipe.served:
                trained = adapters.load(finished_adapter(run, name))
                adapters.load_weights(backbone.model, name, trained)
        backbone.model.eval()
        backbone.model.to(device)
        return cls(Encoder(backbone, device, recipe.chunk_tokens, bfloat16=False), recipe)

    @property
    def model(self) -> Model:
        """What the run would be as a bundle."""
        return Model(
            name="run",
            version=str(self.recipe.seed),
            dimension=self.encoder.backbone.dimension,
            adapters={name: each.granularity for name, each in self.recipe.served.items()},
            routing=dict(self.recipe.by_granularity),
            has_plain=True,
            has_tokens=True,
        )

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """Unit rows of `texts` through an adapter, or through none: (n, dim)."""
        unique = list(dict.fromkeys(texts))
        ids = self.encoder.backbone.tokenize(unique, self._max_tokens(adapter))
        batch = self.encoder.batch([Row(row, adapter) for row in ids])
        with torch.no_grad():
            found: Vectors = normalize(self.encoder.embed(batch), dim=-1).cpu().numpy()
        place = {text: index for index, text in enumerate(unique)}
        return found[[place[text] for text in texts]]

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """For each sentence the mean of each word's sub-word states, zero for a word that has none:
        (words, dim), not normalised."""
        backbone = self.encoder.backbone
        backbone.tokenizer.enable_truncation(self._max_tokens(adapter))
        try:
            encodings = backbone.tokenizer.encode_batch(
                [list(sentence) for sentence in sentences], is_pretokenized=True
            )
        finally:
            backbone.tokenizer.no_truncation()
        result: list[Vectors] = [np.empty((0, backbone.dimension), np.float32)] * len(sentences)
        lengths = [len(encoding.ids) for encoding in encodings]
        order = sorted(range(len(encodings)), key=lengths.__getitem__)
        adapters.select(backbone.model, adapter)
        for indices in of_like_length(order, lengths, self.encoder.chunk_tokens):
            states = self._states([encodings[index].ids for index in indices])
            for index, row in zip(indices, states, strict=True):
                result[index] = word_means(row, encodings[index].word_ids, len(sentences[index]))
        return result

    def _states(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Last-layer states through the adapter selected: (rows, tokens, dim)."""
        backbone, device = self.encoder.backbone, self.encoder.device
        ids, mask = (part.to(device) for part in backbone.pad(rows))
        with torch.no_grad():
            states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        found: Vectors = states.float().cpu().numpy()
        return found

    def _max_tokens(self, adapter: str | None) -> int:
        served = self.recipe.served
        if adapter is None:
            return max(each.max_tokens for each in served.values())
        return served[adapter].max_tokens
