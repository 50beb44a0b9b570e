"""Cut a `tokenizer.json` to fewer tokens, so that what it still can say it says as before.

A text whose tokens are all kept gets the same tokens from the cut tokenizer:

- WordPiece takes the longest token that fits, and the longest is still there; WordLevel, the word.
- Unigram takes the best-scored path, and loses only others. Unknown characters are scored relative
  to the lowest score of the vocabulary, so the token with that score stays.
- BPE repeats the merges of lowest rank. Inside a token that it ends with, these are the merges that
  it makes of that token alone, so all that they pass through stays, in the order of their ranks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from training.errors import TrainingError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_KINDS = ("BPE", "Unigram", "WordLevel", "WordPiece")

TokenIds = NDArray[np.int64]


class Characters(StrEnum):
    """Which single characters are kept although no text of the languages uses them. A tokenizer
    that can say every text in bytes keeps these 256 instead, whatever is asked."""

    # All: a text that the parent could say without an unknown token still can be said.
    NEEDED = "needed"
    # None: a character that the languages do not use becomes the unknown token.
    USED = "used"


class Why(StrEnum):
    """Why a token is kept; the first that holds."""

    SPECIAL = "special"  # added, unknown, padding, or put around a text
    BYTE = "byte"  # so that every text can be said
    CHARACTER = "character"  # the same, where there are no bytes
    SCORE = "lowest score"  # what the scores of unknown characters are reckoned from
    USED = "used"
    MERGE = "merge"  # what a kept token is merged from


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer file taken apart: its tokens by their ids, and how longer ones come about."""

    values: Mapping[str, Any]
    ids: Mapping[str, int]
    padding: int  # the id that fills up a row
    _ranks: Mapping[tuple[str, str], int]

    @classmethod
    def read(cls, tokenizer_json: str, padding: int) -> Vocabulary:
        """Parse the content of a `tokenizer.json`; `padding` is the bundle's padding id, which
        the file need not know.

        Raises TrainingError where its model is none of BPE, Unigram, WordLevel and WordPiece.
        """
        values = json.loads(tokenizer_json)
        kind = values["model"].get("type")
        if kind not in _KINDS:
            raise TrainingError(
                f"the tokenizer's model is {kind!r}; only {', '.join(_KINDS)} can be cut"
            )
        ids = Tokenizer.from_str(tokenizer_json).get_vocab(with_added_tokens=True)
        merges = map(_parts, values["model"].get("merges", ()))
        return cls(values, ids, padding, {pair: rank for rank, pair in enumerate(merges)})

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return max(self.ids.values()) + 1

    @property
    def in_model(self) -> frozenset[str]:
        """The tokens that the model makes; the others are added ones, found before it is asked."""
        vocabulary = self.values["model"]["vocab"]
        if self.values["model"]["type"] == "Unigram":
            return frozenset(token for token, _ in vocabulary)
        return frozenset(vocabulary)

    @property
    def unknown(self) -> int | None:
        """The id that stands for what the model cannot say; None where it has none."""
        model = self.values["model"]
        if model["type"] == "Unigram":
            unknown: int | None = model["unk_id"]
            return unknown
        return self.ids.get(model.get("unk_token"))

    def special(self) -> frozenset[int]:
        """Tokens that stand for no piece of text: added, unknown, or put around a text."""
        names = {each["content"] for each in self.values["added_tokens"]}
        names.update(_around(self.values.get("post_processor")))
        if self.values.get("padding") is not None:
            names.add(self.values["padding"]["pad_token"])
        found = {self.ids[name] for name in names if name in self.ids}
        found.add(self.padding)
        return frozenset(found if self.unknown is None else found | {self.unknown})

    def bytes_of_texts(self) -> frozenset[int]:
        """The tokens of single bytes, where every text can be said in them; empty elsewhere."""
        if self.values["model"].get("byte_fallback"):
            found = frozenset(i for token, i in self.ids.items() if _BYTE.fullmatch(token))
            # Without all of them the library does not fall back, and leaves the unknown token.
            return found if len(found) == 256 else frozenset()
        if "ByteLevel" in {
            *_types(self.values["pre_tokenizer"]),
            *_types(self.values["normalizer"]),
        }:
            alphabet = set(ByteLevel.alphabet())
            return frozenset(self.ids[t] for t in self.in_model if self._bare(t) in alphabet)
        return frozenset()

    def characters(self) -> frozenset[int]:
        """Every single character, in each form that it has (`x`, `##x`, `x</w>`)."""
        return frozenset(self.ids[token] for token in self.in_model if len(self._bare(token)) == 1)

    def lowest_score(self) -> frozenset[int]:
        """The token with the lowest score, where tokens have one."""
        if self.values["model"]["type"] != "Unigram":
            return frozenset()
        vocabulary = self.values["model"]["vocab"]
        return frozenset({min(range(len(vocabulary)), key=lambda i: (vocabulary[i][1], i))})

    def merged_from(self, token: str) -> frozenset[int]:
        """The ids of all that `token` is merged from, without its own; empty but for BPE, and for
        tokens that no merges lead to."""
        if not self._ranks:
            return frozenset()
        symbols = self._symbols(token)
        passed = set(symbols)
        prefix = self.values["model"].get("continuing_subword_prefix") or ""
        while len(symbols) > 1:
            ranks = [self._ranks.get(pair, len(self._ranks)) for pair in pairwise(symbols)]
            first = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[first] == len(self._ranks):
                return frozenset()
            merged = symbols[first] + symbols[first + 1].removeprefix(prefix)
            symbols[first : first + 2] = [merged]
            passed.add(merged)
        return frozenset(self.ids[each] for each in passed - {token} if each in self.ids)

    def _bare(self, token: str) -> str:
        model = self.values["model"]
        prefix = model.get("continuing_subword_prefix") or ""
        suffix = model.get("end_of_word_suffix") or ""
        # A token that is nothing but the prefix is itself a text.
        bare = token.removeprefix(prefix).removesuffix(suffix)
        return bare or token

    def _symbols(self, token: str) -> list[str]:
        """What BPE starts from to make `token`: its characters, dressed as inside a word."""
        model = self.values["model"]
        prefix = model.get("continuing_subword_prefix") or ""
        suffix = model.get("end_of_word_suffix") or ""
        inside = bool(prefix) and token.startswith(prefix)
        ends = bool(suffix) and token.endswith(suffix)
        symbols = [f"{prefix}{character}" for character in self._bare(token)]
        if not inside:
            symbols[0] = symbols[0].removeprefix(prefix)
        if ends:
            symbols[-1] += suffix
        return symbols


@dataclass(frozen=True, slots=True)
class Cut:
    """A tokenizer with fewer tokens: the file's content, and for each new id the old one."""

    tokenizer_json: str
    old_ids: TokenIds  # (new vocabulary,)

    @property
    def new_ids(self) -> dict[int, int]:
        """New ids by old ones."""
        return {int(old): new for new, old in enumerate(self.old_ids)}


def cut(vocabulary: Vocabulary, kept: Collection[int]) -> Cut:
    """The tokenizer with only the tokens `kept`, numbered anew without gaps in their old order.

    A special token keeps its id where the smaller vocabulary still has it: graphs may know it.
    Raises TrainingError where the result would not read as intended, which names the reason.
    """
    tokens = {old: token for token, old in vocabulary.ids.items()}
    model_tokens = vocabulary.in_model
    inside = sorted(old for old in kept if tokens[old] in model_tokens)
    outside = sorted(old for old in kept if tokens[old] not in model_tokens)
    pinned = {old for old in vocabulary.special().intersection(inside) if old < len(inside)}
    others = iter([old for old in inside if old not in pinned])
    order = [new if new in pinned else next(others) for new in range(len(inside))]
    # The library numbers added tokens that the model lacks after the model's own.
    order += outside
    new_ids = {tokens[old]: new for new, old in enumerate(order)}
    values = dict(vocabulary.values)
    values["model"] = _cut_model(values["model"], [tokens[old] for old in order[: len(inside)]])
    values["added_tokens"] = sorted(
        ({**each, "id": new_ids[each["content"]]} for each in values["added_tokens"]),
        key=lambda each: each["id"],
    )
    values["post_processor"] = _renumbered(values.get("post_processor"), new_ids)
    if values.get("padding") is not None:
        padding = values["padding"]
        values["padding"] = {**padding, "pad_id": new_ids[padding["pad_token"]]}
    result = json.dumps(values, ensure_ascii=False)
    if Tokenizer.from_str(result).get_vocab(with_added_tokens=True) != new_ids:
        raise TrainingError("the cut tokenizer reads back with other ids; its file is unusual")
    return Cut(result, np.array(order, dtype=np.int64))


def _cut_model(model: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    result = dict(model)
    if model["type"] == "Unigram":
        scores = dict(model["vocab"])
        result["vocab"] = [[token, scores[token]] for token in tokens]
        if model["unk_id"] is not None:
            result["unk_id"] = tokens.index(model["vocab"][model["unk_id"]][0])
        return result
    result["vocab"] = {token: new for new, token in enumerate(tokens)}
    if model["type"] == "BPE":
        prefix = model.get("continuing_subword_prefix") or ""
        known = set(tokens)
        result["merges"] = [
            merge
            for merge in model["merges"]
            if {(pair := _parts(merge))[0], pair[1], pair[0] + pair[1].removeprefix(prefix)}
            <= known
        ]
    return result


def _parts(merge: str | list[str]) -> tuple[str, str]:
    """A merge, which files write as `a b` or, where tokens hold spaces, as two strings."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _types(step: Mapping[str, Any] | None) -> Iterator[str]:
    """The types of a normalizer or pre-tokenizer and of those that it is a sequence of."""
    if step is not None:
        yield step["type"]
        for each in [*step.get("pretokenizers", ()), *step.get("normalizers", ())]:
            yield from _types(each)


def _around(processor: Mapping[str, Any] | None) -> Iterator[str]:
    """The tokens that a post-processor puts around a text."""
    for each in _processors(processor):
        if each["type"] == "TemplateProcessing":
            for entry in each["special_tokens"].values():
                yield from entry["tokens"]
        elif each["type"] in ("BertProcessing", "RobertaProcessing"):
            yield from (each["sep"][0], each["cls"][0])


def _processors(processor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if processor is None:
        return
    if processor["type"] == "Sequence":
        for each in processor["processors"]:
            yield from _processors(each)
    else:
        yield processor


def _renumbered(
    processor: Mapping[str, Any] | None, new_ids: Mapping[str, int]
) -> Mapping[str, Any] | None:
    if processor is None or processor["type"] == "ByteLevel":
        return processor
    if processor["type"] == "Sequence":
        parts = [_renumbered(each, new_ids) for each in processor["processors"]]
        return {**processor, "processors": parts}
    if processor["type"] == "TemplateProcessing":
        special = {
            name: {**entry, "ids": [new_ids[token] for token in entry["tokens"]]}
            for name, entry in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": special}
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        ends = {end: [processor[end][0], new_ids[processor[end][0]]] for end in ("sep", "cls")}
        return {**processor, **ends}
    raise TrainingError(f"the tokenizer's post-processor {processor['type']!r} is not known")
