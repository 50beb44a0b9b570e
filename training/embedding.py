"""Texts to pooled vectors: rows of token ids → chunks of like length → vectors, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training import adapters
from training.backbone import Backbone, masked_mean
from training.batching import of_like_length, places
from training.device import pinned


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenized text and the adapter that it goes through; None is the plain backbone."""

    ids: Sequence[int]
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts of one adapter that one forward pass takes."""

    adapter: str | None
    ids: Tensor  # int64 (rows, tokens)
    mask: Tensor  # int64 (rows, tokens)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in chunks; `place[i]` is where text i stands among the chunks' rows."""

    chunks: Sequence[Chunk]
    place: Tensor  # int64 (texts,)

    def of_tokens(self, values: Sequence[Tensor], filler: int) -> list[Tensor]:
        """What each text's tokens have, int64 (its tokens,) a text, as the chunks hold the tokens:
        int64 (rows, tokens) a chunk, `filler` on padding."""
        order = iter(self.place.argsort().tolist())
        placed = []
        for chunk in self.chunks:
            of_chunk = torch.full_like(chunk.ids, filler)
            for row in of_chunk:
                own = values[next(order)]
                row[: len(own)] = own
            placed.append(of_chunk)
        return placed


@dataclass(frozen=True, slots=True)
class Encoder:
    """A backbone with its adapters on the device where its weights are."""

    backbone: Backbone
    device: torch.device
    # Padded tokens that one forward pass may hold.
    chunk_tokens: int
    bfloat16: bool
    # Whether adapters were attached to the backbone; a teacher has none.
    adapted: bool = True

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Chunks of one adapter and like length, so that little is computed on padding."""
        lengths = [len(row.ids) for row in rows]
        order: list[int] = []
        chunks = []
        for name in sorted({row.adapter or "" for row in rows}):
            own = [index for index, row in enumerate(rows) if (row.adapter or "") == name]
            own.sort(key=lengths.__getitem__)
            order += own
            for indices in of_like_length(own, lengths, self.chunk_tokens):
                ids, mask = self.backbone.pad([rows[index].ids for index in indices])
                chunks.append(
                    Chunk(name or None, pinned(ids, self.device), pinned(mask, self.device))
                )
        return Batch(chunks, places(order))

    def encode(self, chunk: Chunk) -> Tensor:
        """Pooled vectors of one chunk, float32 (rows, dim), each through its adapter."""
        states = self.states(chunk)
        return masked_mean(states, chunk.mask.to(self.device, non_blocking=True))

    def states(self, chunk: Chunk) -> Tensor:
        """Token states of one chunk, float32 (rows, tokens, dim), each row through its adapter."""
        if self.adapted:
            _activate(self.backbone, chunk.adapter)
        ids = chunk.ids.to(self.device, non_blocking=True)
        mask = chunk.mask.to(self.device, non_blocking=True)
        with self.autocast():
            states = self.backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return states.float()  # type: ignore[no-any-return]

    def autocast(self) -> torch.autocast:
        """The precision in which the model computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def embed(self, batch: Batch) -> Tensor:
        """Pooled vectors, float32 (texts, dim), in the texts' order."""
        vectors = torch.cat([self.encode(chunk) for chunk in batch.chunks])
        return vectors[batch.place.to(self.device)]


def _activate(backbone: Backbone, adapter: str | None) -> None:
    """Route the model through `adapter` and leave what is trainable as it is."""
    trainable = [each for each in backbone.model.parameters() if each.requires_grad]
    adapters.select(backbone.model, adapter)
    for parameter in trainable:
        parameter.requires_grad_(True)
