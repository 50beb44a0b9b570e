"""Whether an exported graph computes what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.nn.functional import normalize

from training import adapters
from training.backbone import Backbone, layer_states, masked_mean
from training.recipe import Recipe

Array = np.ndarray[Any, Any]


def parity(
    graph: Path,
    reference: Backbone,
    recipe: Recipe,
    texts: Mapping[str, Sequence[str]],
    token_layer: int,
) -> float:
    """The largest difference between the graph's outputs and the AdapterHub model's: absolute for
    embeddings, of a token's states, those after layer `token_layer`, relative to their length.

    The reference encodes each text alone, without padding, through one adapter. The graph sees
    the same texts (a) in batches of one adapter, (b) in batches whose rows take the adapters in
    turn, where token states are compared too, both padded to the longest, and (c) one text with
    every amount of padding up to the longest input of the adapter.
    """
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    names = list(recipe.served)
    everything = [text for pool in texts.values() for text in pool]
    turns = [names[index % len(names)] for index in range(len(everything))]
    vectors: dict[str, list[Array]] = {}
    states: dict[int, Array] = {}  # of each text through the adapter of its turn
    rows: dict[str, list[list[int]]] = {}
    for name in names:
        adapters.select(reference.model, name)
        rows[name] = reference.tokenize(everything, recipe.served[name].max_tokens)
        vectors[name] = []
        for index, row in enumerate(rows[name]):
            vector, tokens = encode_alone(reference, row, token_layer)
            vectors[name].append(vector)
            if turns[index] == name:
                states[index] = tokens

    def difference(batch: Sequence[tuple[str, int]], width: int | None, tokens: bool) -> float:
        ids, mask = reference.pad([rows[name][index] for name, index in batch], width)
        adapter_ids = np.array([names.index(name) for name, _ in batch], dtype=np.int64)
        feed = {
            "input_ids": ids.numpy(),
            "attention_mask": mask.numpy(),
            "adapter_ids": adapter_ids,
        }
        found = session.run(["embedding", "tokens"] if tokens else ["embedding"], feed)
        wanted = np.stack([vectors[name][index] for name, index in batch])
        worst = float(np.abs(found[0] - wanted).max())
        if tokens:
            for (_, index), actual in zip(batch, found[1], strict=True):
                worst = max(worst, _states_differ(actual, states[index]))
        return worst

    worst = 0.0
    mixed = list(zip(turns, range(len(everything)), strict=True))
    for batch in [*([(name, i) for i in range(len(everything))] for name in names), mixed]:
        for start in range(0, len(batch), 16):
            worst = max(worst, difference(batch[start : start + 16], None, batch is mixed))
    for name in names:
        for width in range(len(rows[name][0]), recipe.served[name].max_tokens + 1):
            worst = max(worst, difference([(name, 0)], width, False))
    return worst


def encode_alone(
    backbone: Backbone, row: Sequence[int], token_layer: int | None = None
) -> tuple[Array, Array]:
    """The unit vector (dim,) of one text, unpadded, and its token states (tokens, dim) after
    layer `token_layer`, counted from 1; None is the last."""
    ids, mask = backbone.pad([row])
    with torch.no_grad():
        states = layer_states(backbone.model, ids, mask)
    tokens = states[-1] if token_layer is None else states[token_layer - 1]
    return normalize(masked_mean(states[-1], mask), dim=-1)[0].numpy(), tokens[0].numpy()


def _states_differ(actual: Array, wanted: Array) -> float:
    """The largest difference of a token's states, relative to their length; `actual` is padded."""
    lengths = np.linalg.norm(wanted, axis=1, keepdims=True)
    # A token that is next to nothing in its text, like [CLS] in a student, has no direction.
    lengths = np.maximum(lengths, 1e-3 * lengths.max())
    return float((np.abs(actual[: len(wanted)] - wanted) / lengths).max())
