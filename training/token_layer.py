"""Which layer's token states a bundle's graph gives, and what each layer is worth for words.

The vector of a text is always the last layer's. Words are often told apart better by the states of
an inner layer, where the encoder still says what stands there rather than what it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.bundle import Granularity, LayerErrors, TokenLayer
from training import adapters
from training.backbone import Backbone, layer_states
from training.batching import of_like_length
from training.errors import TrainingError
from training.evaluation.similarity import Vectors
from training.evaluation.tasks.word_alignment import load_dev
from training.evaluation.word_links import (
    alignment_error_rate,
    argmax_intersection,
    similarities,
    word_means,
)
from training.recipe import Recipe

LAST_NAME, AUTO_NAME = "last", "auto"
# Padded tokens of one batch.
_BATCH_TOKENS = 4096
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class LayerWish:
    """A layer by its number, from 1; or the best on the development data of a folder of test sets;
    or, where neither is told, the last."""

    number: int | None = None
    evaluation: Path | None = None

    @classmethod
    def read(cls, text: str, evaluation: Path | None) -> LayerWish:
        """What a person wrote: `last`, `auto`, which needs `evaluation` and alone uses it, or a
        number. TrainingError tells what does not fit."""
        if (text == AUTO_NAME) != (evaluation is not None):
            raise TrainingError(
                f"--token-layer {AUTO_NAME} and --evaluation FOLDER go together: the layer is "
                "chosen on the folder's development sets"
            )
        if text == LAST_NAME or evaluation is not None:
            return cls(evaluation=evaluation)
        if not (text.isascii() and text.isdigit()):
            raise TrainingError(
                f"--token-layer is {text!r}; use {LAST_NAME}, {AUTO_NAME} or the number of a layer"
            )
        return cls(int(text))


LAST = LayerWish()


def choose(wish: LayerWish, backbone: Backbone, recipe: Recipe) -> TokenLayer:
    """The layer that `wish` asks for, of a backbone with the trained adapters of `recipe`.

    Raises TrainingError where there is no such layer, or no development data to choose by.
    """
    count = backbone.layers
    if wish.evaluation is not None:
        measured = measure(backbone, recipe, wish.evaluation)
        return TokenLayer(layer=best(measured.aer), layers=count, measured=measured)
    number = count if wish.number is None else wish.number
    if not 1 <= number <= count:
        raise TrainingError(
            f"--token-layer is {number}; the encoder has {count} layers: use 1 to {count}, "
            f"{LAST_NAME} or {AUTO_NAME}"
        )
    return TokenLayer(layer=number, layers=count, measured=None)


def best(errors: Sequence[float]) -> int:
    """The number of the layer with the least error, from 1; of equal ones the last, which is what
    adapters are trained by."""
    return max(range(1, len(errors) + 1), key=lambda layer: (-errors[layer - 1], layer))


def as_line(told: TokenLayer) -> str:
    """What was chosen and why, for a person to read."""
    line = f"token states: layer {told.layer} of {told.layers}"
    if (measured := told.measured) is None:
        return line
    errors = ", ".join(f"{error:.2f}" for error in measured.aer)
    return (
        f"{line}; AER of adapter {measured.adapter} by layer: {errors} "
        f"({measured.sentences} sentences of {', '.join(measured.aer_by_set)})"
    )


def measure(backbone: Backbone, recipe: Recipe, evaluation: Path) -> LayerErrors:
    """The alignment error rate of mutual best by each layer's states, through the adapter that
    words are read by, on the development sets in `evaluation` that are in the recipe's languages.

    Raises TrainingError where there are none.
    """
    sets = load_dev(evaluation, recipe.languages)
    name = word_adapter(recipe)
    adapters.select(backbone.model, name)
    max_tokens = recipe.served[name].max_tokens
    by_set: dict[str, list[float]] = {}
    for title, pairs in sets.items():
        one = _words(backbone, [pair.words_a for pair in pairs], max_tokens)
        other = _words(backbone, [pair.words_b for pair in pairs], max_tokens)
        sure, possible = [pair.sure for pair in pairs], [pair.possible for pair in pairs]
        by_set[title] = [
            alignment_error_rate(
                [argmax_intersection(similarities(a, b)) for a, b in zip(*sides, strict=True)],
                sure,
                possible,
            )
            for sides in zip(one, other, strict=True)
        ]
    return LayerErrors(
        adapter=name,
        sentences=sum(map(len, sets.values())),
        aer=_rounded(np.mean(list(by_set.values()), axis=0).tolist()),
        aer_by_set={title: _rounded(errors) for title, errors in by_set.items()},
    )


def word_adapter(recipe: Recipe) -> str:
    """The adapter that words are read by: the first for words, or that of sentences."""
    for name, plan in recipe.served.items():
        if plan.granularity is Granularity.WORD:
            return name
    if (sentences := recipe.by_granularity.get(Granularity.SENTENCE)) is None:
        raise TrainingError(
            "the run has no adapter of granularity word or sentence, by which words are read"
        )
    return sentences


def _words(
    backbone: Backbone, sentences: Sequence[Sequence[str]], max_tokens: int
) -> list[list[Vectors]]:
    """Of each layer, for each sentence its words' vectors, (words, dim)."""
    backbone.tokenizer.enable_truncation(max_tokens)
    try:
        encodings = backbone.tokenizer.encode_batch(
            [list(sentence) for sentence in sentences], is_pretokenized=True
        )
    finally:
        backbone.tokenizer.no_truncation()
    lengths = [len(encoding.ids) for encoding in encodings]
    order = sorted(range(len(encodings)), key=lengths.__getitem__)
    empty: Vectors = np.empty((0, backbone.dimension), np.float32)
    found = [[empty] * len(sentences) for _ in range(backbone.layers)]
    for batch in of_like_length(order, lengths, _BATCH_TOKENS):
        ids, mask = backbone.pad([encodings[index].ids for index in batch])
        with torch.no_grad():
            layers = layer_states(backbone.model, ids, mask)
        for own, states in zip(found, layers, strict=True):
            for index, row in zip(batch, states.numpy(), strict=True):
                own[index] = word_means(row, encodings[index].word_ids, len(sentences[index]))
    return found


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in values)
