"""Draw the batches of a run: languages mixed, rare ones lifted, no false negatives inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.corpora.overlap import without_overlap
from training.corpora.tsv import Pair, corpus_files, read_pairs
from training.errors import TrainingError

# Draws per wanted pair before a batch gives up on finding distinct texts.
_DRAWS_PER_PAIR = 20


@dataclass(frozen=True, slots=True)
class PairSampler:
    """Batches of pairs, each a function of the seed and the step alone, so that a resumed run sees
    the data that an unbroken one would.

    A language is drawn with probability proportional to (its pairs) ** exponent: 1 follows the
    data, 0 treats all languages alike.
    """

    pairs: Mapping[str, Sequence[Pair]]
    exponent: float
    seed: int

    def __post_init__(self) -> None:
        if not any(self.pairs.values()):
            raise TrainingError("no pairs left to train on; are the languages in the corpora?")

    def batch(self, step: int, size: int) -> list[Pair]:
        """`size` pairs for `step`; no English text and no other text stands in it twice, since a
        twin among the in-batch negatives would be a false one.

        Raises TrainingError where the corpora have too few distinct texts for such a batch.
        """
        rng = np.random.default_rng([self.seed, step])
        languages = sorted(language for language, pairs in self.pairs.items() if pairs)
        counts = np.array([len(self.pairs[language]) for language in languages], dtype=np.float64)
        weights = counts**self.exponent
        chosen: list[Pair] = []
        seen: set[str] = set()
        for index in rng.choice(len(languages), size * _DRAWS_PER_PAIR, p=weights / weights.sum()):
            pool = self.pairs[languages[index]]
            pair = pool[int(rng.integers(len(pool)))]
            twins = {pair.english.casefold(), pair.other.casefold()}
            if seen.isdisjoint(twins):
                seen |= twins
                chosen.append(pair)
                if len(chosen) == size:
                    return chosen
        raise TrainingError(
            f"a batch of {size} pairs needs more distinct texts than the corpora hold: "
            f"use a batch of at most {len(chosen)} pairs"
        )


def load_pairs(
    folder: Path,
    granularity: Granularity,
    languages: Iterable[str],
    banned: frozenset[bytes],
    excluded_sources: frozenset[str] = frozenset(),
) -> dict[str, list[Pair]]:
    """All pairs of `granularity` below `folder` without evaluation text, by language.

    `banned` holds the fingerprints of evaluation texts (`overlap.fingerprints`).
    """
    wanted = frozenset(languages)
    by_language: dict[str, list[Pair]] = {language: [] for language in sorted(wanted)}
    for file in corpus_files(folder, granularity):
        if file.name.split(".")[0] in excluded_sources:
            continue
        for pair in without_overlap(read_pairs(file, granularity, wanted), banned):
            by_language[pair.language].append(pair)
    return by_language
