"""The pairs of a run, sampled from a corpus or made up; both sides draw the same batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.corpora.sampling import PairSampler, load_pairs
from training.corpora.tsv import Pair
from training.data import Translations
from training.recipe import Recipe

Pairs = Mapping[str, Sequence[Pair]]

# Scripts of the made-up languages, by first letter and count.
_MADE_UP = {"en": ("a", 26), "de": ("a", 26), "ru": ("а", 32), "el": ("α", 17)}
_MADE_UP_PAIRS = 2000
# At most, of each language of a corpus.
_SAMPLED = 10_000


def sample(corpus: Path, languages: Sequence[str]) -> Pairs:
    """Pairs of sentences of a corpus, in each language so many, evenly spaced, or all."""
    found = load_pairs(corpus, Granularity.SENTENCE, languages, frozenset())
    return {language: pool[:: -(-len(pool) // _SAMPLED) or 1] for language, pool in found.items()}


def made_up(seed: int = 0) -> Pairs:
    """Pairs of random words in three languages, 3 to 40 words a text."""
    rng = np.random.default_rng(seed)

    def text(language: str, words: int) -> str:
        first, letters = _MADE_UP[language]
        return " ".join(
            "".join(chr(ord(first) + int(each)) for each in rng.integers(letters, size=size))
            for size in rng.integers(2, 9, size=words)
        )

    def pair(language: str, number: int) -> Pair:
        words = int(rng.integers(3, 41))
        return Pair(f"{number}", "made-up", language, text("en", words), text(language, words))

    languages = [each for each in _MADE_UP if each != "en"]
    return {
        language: [pair(language, number) for number in range(_MADE_UP_PAIRS)]
        for language in languages
    }


def write(file: Path, pairs: Pairs) -> None:
    """Write pairs for both sides to read."""
    rows = {language: [asdict(pair) for pair in own] for language, own in pairs.items()}
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def read(file: Path) -> Pairs:
    """What `write` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {language: [Pair(**row) for row in own] for language, own in rows.items()}


def translations(pairs: Pairs, recipe: Recipe) -> Translations:
    """`pairs` as the trainer draws them: batch n is a function of the recipe's seed and n."""
    sampler = PairSampler(pairs, recipe.language_exponent, recipe.seed, recipe.source_exponent)
    return Translations(sampler, [], {language: len(own) for language, own in pairs.items()})
