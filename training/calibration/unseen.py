"""Translations that a bundle's adapters did not learn from: what their validation held out, and
what was left out of training with it."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from models.bundle import Manifest
from training.corpora.overlap import fingerprint
from training.corpora.tsv import Pair
from training.data import Corpus, Loader, Parted
from training.errors import TrainingError
from training.recipe import Recipe

# By how much a corpus may differ from the one that was trained on. What is held out goes by a hash
# of each pair, so that a few more or fewer pairs move few in or out of it.
_MOST_CHANGE = 0.25


@dataclass(frozen=True, slots=True)
class UnseenPairs:
    """Pairs of English and another language, by that language."""

    pairs: Mapping[str, Sequence[Pair]]
    # Pairs in the corpus, and in the one that the adapter was trained on.
    corpus_pairs: int
    trained_pairs: int


class Unseen:
    """Reads a corpus for the adapters of one bundle."""

    def __init__(self, manifest: Manifest, corpus: Corpus) -> None:
        """Raises TrainingError where the manifest does not tell what was held out."""
        self._where = f"bundle {manifest.name} {manifest.version}"
        recipe = manifest.provenance.get("recipe")
        self._counts = manifest.provenance.get("pairs")
        if not isinstance(recipe, dict) or not isinstance(self._counts, dict):
            raise TrainingError(
                f"{self._where}: its provenance has no recipe, so nobody can tell which texts it "
                "learned from; calibrate a bundle that `polygrain-train export` wrote"
            )
        self._recipe = Recipe.of(recipe, f"{self._where}: provenance.recipe")
        if self._recipe.validation is None:
            raise TrainingError(
                f"{self._where}: its recipe held nothing out; train it with a [validation] section"
            )
        self._loader = Loader(self._recipe, corpus)

    def pairs(self, adapter: str, most: int) -> UnseenPairs:
        """At most `most` pairs of each language, in the order of a hash, neither of whose texts
        stands in any pair that the adapter's training draws from. No text, in letters and digits,
        and no alignment id stands in two pairs of a language.

        Raises TrainingError where the corpus is not the one that the bundle was trained on, nor
        much like it.
        """
        average = self._recipe.averages.get(adapter)
        stage = adapter if average is None else average.of[0]
        if stage not in self._recipe.adapters:
            raise TrainingError(f"{self._where}: its recipe has no adapter {adapter}")
        parted = self._loader.parted(stage)
        now = sum(parted.counts.values())
        then = sum(self._counts.get(stage, {}).values())
        if abs(now - then) > _MOST_CHANGE * then:
            raise TrainingError(
                f"the corpus has {now} pairs for adapter {adapter}, and the one that {self._where} "
                f"was trained on had {then}: give that corpus, whose held-out texts are known"
            )
        return UnseenPairs(_unseen(parted, most), now, then)


def _unseen(parted: Parted, most: int) -> dict[str, list[Pair]]:
    marks = {mark for pool in parted.aside.values() for pair in pool for mark in _sides(pair)}
    learned = {
        mark
        for pool in parted.trained.values()
        for pair in pool
        for mark in _sides(pair)
        if mark in marks
    }
    found = {
        language: _distinct(pool, learned, most) for language, pool in sorted(parted.aside.items())
    }
    return {language: pairs for language, pairs in found.items() if pairs}


def _distinct(pool: Sequence[Pair], learned: set[bytes | None], most: int) -> list[Pair]:
    marks: set[bytes | None] = set()
    ids: set[str] = set()
    chosen: list[Pair] = []
    for pair in heapq.nsmallest(len(pool), pool, key=_draw):
        one, other = _sides(pair)
        # The same letters on both sides are a name or a copy, no translation.
        if one == other or pair.id in ids or {one, other} & learned or {one, other} & marks:
            continue
        marks |= {one, other}
        ids.add(pair.id)
        chosen.append(pair)
        if len(chosen) == most:
            break
    return chosen


def _sides(pair: Pair) -> tuple[bytes | None, bytes | None]:
    return fingerprint(pair.english), fingerprint(pair.other)


def _draw(pair: Pair) -> bytes:
    text = f"calibration\0{pair.language}\0{pair.english}\0{pair.other}"
    return blake2b(text.encode(), digest_size=8).digest()
