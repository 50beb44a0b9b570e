"""The frozen multilingual encoder under the adapters, with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from training.errors import TrainingError
from training.student.model import Rotation, StudentModel

# Transformers opens a folder by its config's model type; this is the one that we add.
AutoConfig.register(StudentModel.config_class.model_type, StudentModel.config_class)
AutoModel.register(StudentModel.config_class, StudentModel)

Attention = Literal["sdpa", "eager"]


@dataclass(frozen=True, slots=True)
class Backbone:
    """A Hugging Face encoder whose weights never change, and its tokenizer."""

    model: nn.Module
    tokenizer: Tokenizer
    pad_token_id: int
    max_positions: int
    source: str

    @classmethod
    def open(cls, source: str, half_weights: bool, attention: Attention = "sdpa") -> Backbone:
        """Load an encoder from a folder or by hub name, frozen, in evaluation mode and float32.

        `half_weights` rounds every weight to the nearest float16 value, so that the exported graph
        can store them in half the space and still compute what was trained, to the bit.
        `attention` is "eager" for export and "sdpa", the faster, for everything else.

        Raises TrainingError where there is no such encoder or its tokenizer has no fast form.
        """
        try:
            model: Any = AutoModel.from_pretrained(
                source, attn_implementation=attention, dtype=torch.float32
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError, KeyError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise TrainingError(f"no encoder at {source!r}: {first_line}") from None
        if not tokenizer.is_fast:
            raise TrainingError(f"{source}: the tokenizer has no fast form (tokenizer.json)")
        if tokenizer.pad_token_id is None:
            raise TrainingError(f"{source}: the tokenizer has no padding token")
        if getattr(model, "pooler", None) is not None:
            # Pooling is a masked mean over the last layer; the pooler would be dead weight.
            model.pooler = None
        if half_weights:
            _round_to_half(model, source)
        model.requires_grad_(False)
        model.eval()
        backend: Tokenizer = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        return cls(model, backend, tokenizer.pad_token_id, _max_positions(model), source)

    @property
    def dimension(self) -> int:
        """The width of a vector."""
        return int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids per text, special tokens included, cut to `max_tokens`."""
        self.tokenizer.enable_truncation(max_tokens)
        try:
            encodings = self.tokenizer.encode_batch_fast(list(texts))
            return [encoding.ids for encoding in encodings]
        finally:
            self.tokenizer.no_truncation()

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
        """The same as `tokenize`, and where in its text each token stands."""
        self.tokenizer.enable_truncation(max_tokens)
        try:
            return list(self.tokenizer.encode_batch(list(texts)))
        finally:
            self.tokenizer.no_truncation()

    def pad(self, rows: Sequence[Sequence[int]], to: int | None = None) -> tuple[Tensor, Tensor]:
        """Ids and mask, both int64 (rows, tokens), filled up to the longest row or to `to`."""
        width = max(map(len, rows)) if to is None else to
        ids = torch.full((len(rows), width), self.pad_token_id, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the token states that the mask keeps: (rows, tokens, dim) → (rows, dim)."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def layer_states(model: nn.Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """Token states after each layer, as the adapters up to it leave them, each (rows, tokens, dim).

    The last are the model's own output, with what may follow its last layer.
    """
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    # What comes before the first layer stands at 0.
    return (*output.hidden_states[1:-1], output.last_hidden_state)


def hold_in_bfloat16(model: nn.Module, trained: Iterable[nn.Parameter] = ()) -> None:
    """Hold the weights of linear layers, but for those `trained`, as bfloat16 autocast reads them:
    what it computes stays the same to the bit, and is not preceded by a cast in every pass.

    Outside autocast the model cannot be used afterwards.
    """
    kept = {id(parameter) for parameter in trained}
    for module in model.modules():
        # A student's rotation turns its token table too, in full precision.
        if isinstance(module, nn.Linear) and not isinstance(module, Rotation):
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in kept:
                    parameter.data = parameter.data.bfloat16()


def _round_to_half(model: nn.Module, source: str) -> None:
    for name, parameter in model.named_parameters():
        rounded = parameter.data.half().float()
        if not torch.isfinite(rounded).all():
            raise TrainingError(f"{source}: {name} does not fit float16; use half_weights = false")
        parameter.data = rounded


def _max_positions(model: Any) -> int:  # noqa: ANN401 - transformers carries no types
    positions = model.config.max_position_embeddings
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    # RoBERTa-like models count positions from the padding index on.
    offset = getattr(table, "padding_idx", None)
    return int(positions if offset is None else positions - offset - 1)
