"""Pairs of texts that mean the same, each text with the adapter that it goes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokenizers import Encoding

from training.backbone import Backbone
from training.embedding import Row
from training.recipe import Recipe

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Text:
    """A text, the adapter of its granularity, and its language."""

    text: str
    adapter: str
    language: str


@dataclass(frozen=True, slots=True)
class Positive:
    """Two texts that mean the same; the left is English where only one of them is."""

    left: Text
    right: Text


def sides(positives: Sequence[Positive]) -> list[Text]:
    """All left texts, then all right ones."""
    return [each.left for each in positives] + [each.right for each in positives]


def tokenized(backbone: Backbone, recipe: Recipe, texts: Sequence[Text]) -> list[Row]:
    """Texts tokenized for `backbone` and cut for their adapters, in their order."""
    ids = _by_adapter(backbone.tokenize, backbone, recipe, texts)
    return [Row(own, text.adapter) for own, text in zip(ids, texts, strict=True)]


def encoded(backbone: Backbone, recipe: Recipe, texts: Sequence[Text]) -> list[Encoding]:
    """The same, with where each token stands in its text."""
    return _by_adapter(backbone.encode, backbone, recipe, texts)


def _by_adapter(
    tokenize: Callable[[Sequence[str], int], list[Found]],
    backbone: Backbone,
    recipe: Recipe,
    texts: Sequence[Text],
) -> list[Found]:
    found: dict[int, Found] = {}
    for name in {text.adapter for text in texts}:
        places = [place for place, text in enumerate(texts) if text.adapter == name]
        # A teacher may take less than the adapter does.
        most = min(recipe.adapters[name].max_tokens, backbone.max_positions)
        own = tokenize([texts[place].text for place in places], most)
        found |= dict(zip(places, own, strict=True))
    return [found[place] for place in range(len(texts))]


def without_adapter(rows: Sequence[Row]) -> list[Row]:
    """The same rows, cut as they are, through no adapter."""
    return [Row(row.ids, None) for row in rows]
