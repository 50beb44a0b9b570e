"""Draw the batches of a run: languages mixed, rare ones lifted, no false negatives inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.corpora.overlap import without_overlap
from training.corpora.table import table_pairs
from training.corpora.tsv import Pair, corpus_files, read_pairs
from training.errors import TrainingError

FloatVector = np.ndarray[tuple[int], np.dtype[np.float64]]

# Draws per wanted pair before a batch gives up on finding distinct texts.
_DRAWS_PER_PAIR = 20


@dataclass(frozen=True, slots=True)
class PairSampler:
    """Batches of pairs, each a function of the seed and the step alone, so that a resumed run sees
    the data that an unbroken one would.

    A language is drawn with probability proportional to (its pairs) ** exponent, and within it a
    source with probability proportional to (the source's pairs in it) ** source_exponent: 1
    follows the data, 0 treats all alike. Exponents are reciprocal temperatures. With
    `single_language` a batch holds one language, drawn anew for each batch by the same
    probabilities; else every pair's language is drawn by itself.
    """

    pairs: Mapping[str, Sequence[Pair]]
    exponent: float
    seed: int
    source_exponent: float = 1.0
    single_language: bool = False
    _pools: tuple[Sequence[Pair], ...] = field(init=False, repr=False, compare=False)
    _probabilities: FloatVector = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not any(self.pairs.values()):
            raise TrainingError("no pairs left to train on; are the languages in the corpora?")
        pools, probabilities = self._draws()
        object.__setattr__(self, "_pools", tuple(pools))
        object.__setattr__(self, "_probabilities", probabilities)

    def batch(self, step: int, size: int) -> list[Pair]:
        """`size` pairs for `step`; no English text and no other text stands in it twice, since a
        twin among the in-batch negatives would be a false one.

        Raises TrainingError where the corpora have too few distinct texts for such a batch.
        """
        rng = np.random.default_rng([self.seed, step])
        draws = size * _DRAWS_PER_PAIR
        chosen: list[Pair] = []
        seen: set[str] = set()
        for index in rng.choice(len(self._pools), draws, p=self._batch_probabilities(rng)):
            pool = self._pools[index]
            pair = pool[int(rng.integers(len(pool)))]
            twins = {pair.english.casefold(), pair.other.casefold()}
            if seen.isdisjoint(twins):
                seen |= twins
                chosen.append(pair)
                if len(chosen) == size:
                    return chosen
        of = f" of {chosen[0].language}" if self.single_language else ""
        raise TrainingError(
            f"a batch of {size} pairs{of} needs more distinct texts than the corpora hold: "
            f"use a batch of at most {len(chosen)} pairs"
        )

    def _batch_probabilities(self, rng: np.random.Generator) -> FloatVector:
        """How likely a draw of one batch falls on each pool."""
        if not self.single_language:
            return self._probabilities
        # A pool drawn by its share is of a language drawn by the language's.
        drawn = self._pools[int(rng.choice(len(self._pools), p=self._probabilities))]
        own = np.array([pool[0].language == drawn[0].language for pool in self._pools])
        shares = np.where(own, self._probabilities, 0.0)
        probabilities: FloatVector = shares / shares.sum()
        return probabilities

    def _draws(self) -> tuple[list[Sequence[Pair]], FloatVector]:
        """What a draw may fall on, sorted by name, and how likely each is."""
        languages = sorted(language for language, pairs in self.pairs.items() if pairs)
        counts = np.array([len(self.pairs[language]) for language in languages], dtype=np.float64)
        weights = counts**self.exponent
        probabilities = weights / weights.sum()
        if self.source_exponent == 1.0:
            # The data's own shares: whole languages, as polygrain-mini 0.1 was drawn.
            return [self.pairs[language] for language in languages], probabilities
        pools: list[Sequence[Pair]] = []
        shares: list[float] = []
        for language, probability in zip(languages, probabilities, strict=True):
            by_source: dict[str, list[Pair]] = {}
            for pair in self.pairs[language]:
                by_source.setdefault(pair.source, []).append(pair)
            parts = [by_source[source] for source in sorted(by_source)]
            inner = np.array([len(part) for part in parts], np.float64) ** self.source_exponent
            pools += parts
            shares += (probability * inner / inner.sum()).tolist()
        return pools, np.array(shares)


def load_pairs(
    corpus: Path,
    granularity: Granularity,
    languages: Iterable[str],
    banned: frozenset[bytes],
    excluded_sources: frozenset[str] = frozenset(),
) -> dict[str, list[Pair]]:
    """All pairs of `granularity` in `corpus` without evaluation text, by language.

    `corpus` and `banned` are as `stream_pairs` takes them.
    """
    wanted = frozenset(languages)
    by_language: dict[str, list[Pair]] = {language: [] for language in sorted(wanted)}
    for pair in stream_pairs(corpus, granularity, wanted, banned, excluded_sources):
        by_language[pair.language].append(pair)
    return by_language


def stream_pairs(
    corpus: Path,
    granularity: Granularity,
    languages: frozenset[str],
    banned: frozenset[bytes] = frozenset(),
    excluded_sources: frozenset[str] = frozenset(),
) -> Iterator[Pair]:
    """The same, one by one in the corpus' own order; who stops early has not read the rest.

    `corpus` is a folder of TSV files, or the Parquet table of `polygrain-train corpus build`.
    `banned` holds the fingerprints of evaluation texts (`overlap.fingerprints`).
    """
    return without_overlap(_all_pairs(corpus, granularity, languages, excluded_sources), banned)


def _all_pairs(
    corpus: Path,
    granularity: Granularity,
    languages: frozenset[str],
    excluded_sources: frozenset[str],
) -> Iterator[Pair]:
    if corpus.is_file():
        yield from table_pairs(corpus, granularity, languages, excluded_sources)
        return
    for file in corpus_files(corpus, granularity):
        if file.name.split(".")[0] not in excluded_sources:
            yield from read_pairs(file, granularity, languages)
