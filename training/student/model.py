"""The student: a pre-norm transformer over static token vectors, as a Hugging Face model.

Every layer adds to the token vectors that came in, and there is no norm at the end. Fresh layers
add nothing, so a student without training embeds exactly as the static space that its table holds,
and each step of training starts from there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

# Keeps the direction of a zero vector, that of [CLS] and padding, defined.
_TINY = 1e-12


class StudentConfig(PretrainedConfig):  # type: ignore[misc]
    """The sizes of a student."""

    model_type = "polygrain-student"

    def __init__(
        self,
        vocab_size: int = 90_000,
        hidden_size: int = 384,
        num_hidden_layers: int = 3,
        num_attention_heads: int = 6,
        intermediate_size: int = 1024,
        max_position_embeddings: int = 512,
        rotary_base: float = 10_000.0,
        layer_norm_eps: float = 1e-6,
        pad_token_id: int = 0,
        rotated: bool = False,
        **kwargs: Any,  # noqa: ANN401 - what transformers passes on
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.rotary_base = rotary_base
        self.layer_norm_eps = layer_norm_eps
        # Whether the states are turned onto principal axes at the end.
        self.rotated = rotated


class SelfAttention(nn.Module):
    """Multi-head attention with rotary positions (Su et al., 2021)."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, bias: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(rows, tokens, width) → the same; `bias` (rows, 1, 1, tokens) is 0 or -inf-like."""
        rows, tokens, width = states.shape
        shape = (rows, tokens, self.heads, width // self.heads)
        query = _rotate(self.query(states).view(shape).transpose(1, 2), cosine, sine)
        key = _rotate(self.key(states).view(shape).transpose(1, 2), cosine, sine)
        value = self.value(states).view(shape).transpose(1, 2)
        # Written out: for texts of some tens of tokens the fused kernel is the slower on a CPU.
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5 + bias
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.output(mixed.transpose(1, 2).reshape(rows, tokens, width))  # type: ignore[no-any-return]


class StreamUpdate(nn.Module):
    """Add a projection to the stream. Adapters hook in here and see the whole stream."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor, stream: Tensor) -> Tensor:
        return stream + self.dense(hidden)  # type: ignore[no-any-return]


class StudentLayer(nn.Module):
    """One pre-norm layer: attention, then feed-forward, each added to the stream."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(width, eps)
        self.intermediate = nn.Linear(width, config.intermediate_size)
        self.output = StreamUpdate(config)

    def forward(self, stream: Tensor, bias: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(rows, tokens, width) → the same."""
        stream = stream + self.attention(self.attention_norm(stream), bias, cosine, sine)
        hidden = relu(self.intermediate(self.feed_forward_norm(stream)))
        return self.output(hidden, stream)  # type: ignore[no-any-return]


class StudentEncoder(nn.Module):
    """The layers, under the name that adapter libraries look for."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(StudentLayer(config) for _ in range(config.num_hidden_layers))


class Rotation(nn.Linear):
    """An orthogonal map of the vectors, which changes no cosine."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, bias=False)


class StudentModel(PreTrainedModel):  # type: ignore[misc]
    """Token vectors in, contextual token vectors out; pooled by their masked mean."""

    config_class = StudentConfig
    base_model_prefix = "student"
    # Any kind of attention may be asked for: there is one, which traces and runs alike.
    _supports_sdpa = True

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = StudentEncoder(config)
        self.rotation = Rotation(config.hidden_size) if config.rotated else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Every projection into the stream starts at zero: a fresh layer changes nothing."""
        if isinstance(module, Rotation):
            nn.init.eye_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
        elif isinstance(module, SelfAttention):
            nn.init.zeros_(module.output.weight)
        elif isinstance(module, StreamUpdate):
            nn.init.zeros_(module.dense.weight)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: Any,  # noqa: ANN401 - what adapter libraries pass on
    ) -> BaseModelOutput:
        """int64 (rows, tokens) ids and mask → `last_hidden_state` (rows, tokens, width), and with
        `output_hidden_states` the states before the first layer and after each, in one space."""
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("give input_ids or inputs_embeds")
            inputs_embeds = self.embeddings(input_ids)
        if attention_mask is None:
            attention_mask = inputs_embeds.new_ones(inputs_embeds.shape[:2], dtype=torch.int64)
        bias = (1.0 - attention_mask[:, None, None, :].to(inputs_embeds.dtype)) * -1e9
        cosine, sine = self._rotations(attention_mask)
        # A static vector's length is its token's weight in the text. The layers see directions
        # only, and what they add counts by that weight too: else the many light tokens would
        # drown the few that matter.
        weight = (inputs_embeds.square().mean(-1, keepdim=True) + _TINY).sqrt()
        stream = inputs_embeds / weight
        inner = []
        for layer in self.encoder.layer:
            inner.append(stream)
            stream = layer(stream, bias, cosine, sine)
        # Of the last first: an exported graph calls what comes first by the module's plain name.
        last = self._turned(weight * stream)
        if not output_hidden_states:
            return BaseModelOutput(last_hidden_state=last)
        before = [self._turned(weight * stream) for stream in inner]
        return BaseModelOutput(last_hidden_state=last, hidden_states=(*before, last))

    def _turned(self, states: Tensor) -> Tensor:
        return states if self.rotation is None else self.rotation(states)

    def _rotations(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of every position's angles, float32 (tokens, head width / 2)."""
        half = self.config.hidden_size // self.config.num_attention_heads // 2
        exponents = torch.arange(half, dtype=torch.float32, device=mask.device) / half
        # Counted by a running sum rather than by shape, so that a traced graph stays dynamic.
        positions = torch.cumsum(torch.ones_like(mask[0]), 0).to(torch.float32) - 1
        angles = positions[:, None] * self.config.rotary_base**-exponents
        return angles.cos(), angles.sin()


def _rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(rows, heads, tokens, head width), each pair of halves turned by its position's angles."""
    first, second = states.chunk(2, dim=-1)
    cosine, sine = cosine.to(states.dtype), sine.to(states.dtype)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
