"""Alignments as they are answered: pairs with their probabilities, and what is in none.

The three levels meet here: `texts` and `documents` give pairs of indices, `words` links between the
words of each pair of sentences. Handlers and commands only encode and write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import TEXT_GRANULARITIES, Granularity, Manifest
from service.alignment.blocks import Match
from service.alignment.calibration import Calibration
from service.alignment.matching import Method, align_texts
from service.alignment.scoring import Floats
from service.alignment.segmentation import Span, word_spans
from service.alignment.wanted import Level, Wanted
from service.alignment.words import WordMethod, link_words, word_vectors
from service.encoding.states import TokenStates
from service.encoding.texts import Facts
from service.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class AlignedPair:
    """Texts that belong together, by index."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    score: float
    cosine: float
    # What both sides were read as, the coarser where they differ.
    granularity: Granularity
    # Of being translations; None where the bundle is not calibrated for this.
    probability: float | None


@dataclass(frozen=True, slots=True)
class Aligned:
    """Pairs, and the indices that are in none, in order."""

    level: Level
    pairs: tuple[AlignedPair, ...]
    unaligned_source: tuple[int, ...]
    unaligned_target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WordLink:
    """A source word and a target word that belong together, by index into the words."""

    source: int
    target: int
    cosine: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class LinkedSentences:
    """The words of a sentence and of its translation, and the links between them."""

    source_words: tuple[Span, ...]
    target_words: tuple[Span, ...]
    links: tuple[WordLink, ...]


class Judge:
    """Gives pairs their probabilities, and tells which are good enough."""

    def __init__(self, calibration: Calibration, wanted: Wanted, model: str) -> None:
        self._calibration = calibration
        self._wanted = wanted
        self._model = model

    @classmethod
    def of(cls, manifest: Manifest, wanted: Wanted) -> Judge:
        """A judge by the calibration of a bundle.

        Raises InvalidInput where a least probability is asked of a bundle that has none at all.
        """
        judge = cls(Calibration.of(manifest), wanted, f"{manifest.name} {manifest.version}")
        if wanted.min_probability is not None and manifest.calibration is None:
            raise judge._not_calibrated("anything")
        return judge

    def probabilities(
        self, scores: Sequence[float], granularities: Sequence[Granularity]
    ) -> list[float | None]:
        """The probability of each score; None where the bundle is not calibrated for it.

        Raises InvalidInput where that makes a least probability impossible to hold.
        """
        found: list[float | None] = [None] * len(scores)
        for granularity in dict.fromkeys(granularities):
            places = [i for i, one in enumerate(granularities) if one is granularity]
            values = self._calibration.probabilities(
                np.array([scores[place] for place in places], np.float32),
                score=self._wanted.score,
                granularity=granularity,
                languages=self._wanted.languages,
            )
            if values is not None:
                for place, value in zip(places, values.tolist(), strict=True):
                    found[place] = value
            elif self._wanted.min_probability is not None:
                raise self._not_calibrated(f"{self._wanted.score} of granularity {granularity}")
        return found

    def passes(self, score: float, probability: float | None) -> bool:
        """Whether a pair is good enough by its score and its probability."""
        least, likely = self._wanted.threshold, self._wanted.min_probability
        return (least is None or score >= least) and (
            likely is None or (probability is not None and probability >= likely)
        )

    def _not_calibrated(self, what: str) -> InvalidInput:
        return InvalidInput(
            f"min_probability needs a calibrated bundle, and {self._model} is not calibrated for "
            f"{what}; use threshold",
            "min_probability",
        )


def texts(
    sources: Floats,
    targets: Floats,
    source_facts: Sequence[Facts],
    target_facts: Sequence[Facts],
    wanted: Wanted,
    judge: Judge,
) -> Aligned:
    """The pairs of two lists of texts, best first, by their vectors: (n, dim) and (m, dim)."""
    found = align_texts(
        sources,
        targets,
        Method(wanted.method),
        score=wanted.score,
        k=wanted.k,
        threshold=wanted.threshold,
    ).pairs
    coarser = [
        _coarser(source_facts[pair.source].granularity, target_facts[pair.target].granularity)
        for pair in found
    ]
    likely = judge.probabilities([pair.score for pair in found], coarser)
    pairs = [
        AlignedPair((p.source,), (p.target,), p.score, p.cosine, granularity, probability)
        for p, granularity, probability in zip(found, coarser, likely, strict=True)
    ]
    return _aligned(Level.TEXT, pairs, judge, (len(sources), len(targets)))


def documents(
    matches: Sequence[Match], sources: int, targets: int, single: Granularity, judge: Judge
) -> Aligned:
    """The pairs of two documents of so many sentences, in order.

    `single` is what sentences were read as; merged ones were read as paragraphs.
    """
    granularities = [Granularity.PARAGRAPH if one.merged else single for one in matches]
    likely = judge.probabilities([match.score for match in matches], granularities)
    pairs = [
        AlignedPair(
            tuple(range(match.source.start, match.source.end)),
            tuple(range(match.target.start, match.target.end)),
            *(match.score, match.cosine, granularity, probability),
        )
        for match, granularity, probability in zip(matches, granularities, likely, strict=True)
    ]
    return _aligned(Level.DOCUMENT, pairs, judge, (sources, targets))


def words(
    source: tuple[str, TokenStates], target: tuple[str, TokenStates], wanted: Wanted, judge: Judge
) -> LinkedSentences:
    """The links between the words of a sentence and its translation, each with its states."""
    spans = [
        word_spans(text, language)
        for (text, _), language in zip(
            (source, target), (wanted.source_language, wanted.target_language), strict=True
        )
    ]
    vectors = [
        word_vectors(tokens.states, tokens.offsets, own)
        for (_, tokens), own in zip((source, target), spans, strict=True)
    ]
    found = link_words(vectors[0], vectors[1], WordMethod(wanted.method), wanted.threshold)
    likely = judge.probabilities([x.cosine for x in found], [Granularity.WORD] * len(found))
    links = (
        WordLink(link.source, link.target, link.cosine, probability)
        for link, probability in zip(found, likely, strict=True)
    )
    kept = tuple(link for link in links if judge.passes(link.cosine, link.probability))
    return LinkedSentences(tuple(spans[0]), tuple(spans[1]), kept)


def _aligned(
    level: Level, pairs: Iterable[AlignedPair], judge: Judge, counts: tuple[int, int]
) -> Aligned:
    kept = tuple(pair for pair in pairs if judge.passes(pair.score, pair.probability))
    free_sources, free_targets = (np.ones(count, bool) for count in counts)
    for pair in kept:
        free_sources[list(pair.source)] = False
        free_targets[list(pair.target)] = False
    return Aligned(
        level,
        kept,
        tuple(np.flatnonzero(free_sources).tolist()),
        tuple(np.flatnonzero(free_targets).tolist()),
    )


def _coarser(one: Granularity, other: Granularity) -> Granularity:
    return max(one, other, key=TEXT_GRANULARITIES.index)
