"""Pairs of different granularity: a name and its description, a sentence and its paragraph.

They come from entities, the texts under one alignment id (`corpora.table.Entity`), in two ways:
rows of different granularities under one id, and excerpts, which are cut from a paragraph in one
language and paired with the same paragraph in another. An excerpt is a sentence (the inverse cloze
task, Lee et al., 2019) or a phrase of one to three words, the first and last of them rare.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.corpora.overlap import fingerprint
from training.corpora.rows import Row
from training.corpora.table import Entity, read_table
from training.errors import TrainingError
from training.excerpts import Excerpts

CrossPair = tuple[Row, Row]  # the finer text and the coarser

# Draws for a pair that differs from the batch's others, and how many of them may fail.
_DRAWS_PER_PAIR = 40
_TURNS_PER_PAIR = 2


class Kind(NamedTuple):
    """Which granularities are paired, and whether the finer is cut from the coarser."""

    finer: Granularity
    coarser: Granularity
    excerpt: bool


def load_entities(
    table: Path,
    granularities: Iterable[Granularity],
    languages: Iterable[str],
    banned: frozenset[bytes],
    excluded_sources: frozenset[str],
    excerpts: bool,
) -> list[Entity]:
    """The entities of a corpus table that hold texts of two granularities, or with `excerpts` a
    paragraph in two languages; without evaluation text, whose fingerprints `banned` holds.

    Raises TrainingError where `table` is no corpus table: files of pairs do not say which texts of
    different granularities belong together.
    """
    if not table.is_file():
        raise TrainingError(
            f"{table} is a folder of translations, and pairs of different granularity need a "
            "corpus table: make one with `polygrain-train corpus build`"
        )
    found = []
    for entity in read_table(table, granularities, languages, excluded_sources):
        if _is_crossed(entity, excerpts):
            rows = tuple(row for row in entity.rows if fingerprint(row.text) not in banned)
            if _is_crossed(cleaned := Entity(entity.alignment_id, rows), excerpts):
                found.append(cleaned)
    return found


def hold_out_entities(entities: Sequence[Entity], count: int) -> tuple[list[Entity], list[Entity]]:
    """Part entities into those to train on and `count`, or a tenth if that is less, to validate on.

    The choice follows a hash of the alignment id, so that it is the same every time.
    """
    count = min(count, len(entities) // 10)
    held = heapq.nsmallest(count, entities, key=lambda entity: _draw(entity.alignment_id))
    names = {entity.alignment_id for entity in held}
    return [entity for entity in entities if entity.alignment_id not in names], held


class CrossSampler:
    """Batches of pairs of different granularity and, where an entity has them, languages; each a
    function of the seed and its number alone.

    Kinds are drawn alike; then the coarser text's language with probability proportional to (its
    entities) ** exponent; then an entity; then the finer text's language alike among the others.
    """

    def __init__(
        self, entities: Sequence[Entity], exponent: float, seed: int, excerpts: bool
    ) -> None:
        """Raises TrainingError where the entities hold no such pair."""
        self._entities, self._seed = entities, seed
        self._excerpts = Excerpts(
            row
            for entity in (entities if excerpts else ())
            for row in entity.rows
            if row.granularity == Granularity.PARAGRAPH
        )
        pools: dict[Kind, dict[str, list[int]]] = {}
        for place, entity in enumerate(entities):
            for kind, language in _kinds(entity, excerpts):
                pools.setdefault(kind, {}).setdefault(language, []).append(place)
        if not pools:
            raise TrainingError("the corpus table holds no pairs of different granularity")
        self._pools = {
            kind: (
                [by_language[language] for language in sorted(by_language)],
                sorted(by_language),
                _shares([len(by_language[language]) for language in sorted(by_language)], exponent),
            )
            for kind, by_language in sorted(pools.items())
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many coarser texts, one per entity and language, there are of each kind."""
        return {
            kind_name(kind): sum(map(len, pools)) for kind, (pools, _, _) in self._pools.items()
        }

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can be drawn."""
        return tuple(self._pools)

    def batch(self, number: int, size: int) -> list[CrossPair]:
        """`size` pairs; no entity and no text stands in it twice.

        Raises TrainingError where the entities do not suffice.
        """
        rng = np.random.default_rng([self._seed, number, len(self._entities)])
        chosen: list[CrossPair] = []
        seen: set[str] = set()
        for _ in range(size * _TURNS_PER_PAIR):
            if len(chosen) == size:
                break
            kind = self.kinds[int(rng.integers(len(self.kinds)))]
            for _ in range(_DRAWS_PER_PAIR):
                pools, languages, shares = self._pools[kind]
                index = int(rng.choice(len(pools), p=shares))
                place = pools[index][int(rng.integers(len(pools[index])))]
                pair = self._pair(kind, self._entities[place], languages[index], rng)
                if pair is not None and seen.isdisjoint(twins := _twins(pair)):
                    seen |= twins
                    chosen.append(pair)
                    break
        if len(chosen) < size:
            raise TrainingError(
                f"a batch wants {size} pairs of different granularity, and the corpus table has "
                f"{len(chosen)} that differ: use a smaller batch or cross_share"
            )
        return chosen

    def one_of_each(self, kind: Kind) -> list[CrossPair]:
        """A pair from each entity that has one of `kind`, always the same; no text stands in it
        twice."""
        rng = np.random.default_rng(self._seed)
        pools, languages, _ = self._pools[kind]
        coarser: dict[int, list[str]] = {}
        for language, places in zip(languages, pools, strict=True):
            for place in places:
                coarser.setdefault(place, []).append(language)
        chosen: list[CrossPair] = []
        seen: set[str] = set()
        for place, found in sorted(coarser.items()):
            language = found[int(rng.integers(len(found)))]
            pair = self._pair(kind, self._entities[place], language, rng)
            if pair is not None and seen.isdisjoint(twins := _twins(pair)):
                seen |= twins
                chosen.append(pair)
        return chosen

    def _pair(
        self, kind: Kind, entity: Entity, language: str, rng: np.random.Generator
    ) -> CrossPair | None:
        """A pair of which the coarser text is in `language`; None where no excerpt was found."""
        coarser = _pick(entity, kind.coarser, {language}, rng)
        origin = kind.coarser if kind.excerpt else kind.finer
        elsewhere = {row.language for row in entity.rows if row.granularity == origin} - {language}
        finer = _pick(entity, origin, elsewhere or {language}, rng)
        if kind.excerpt:
            text = self._excerpts.cut(kind.finer, finer, rng)
            if text is None:
                return None
            finer = finer._replace(granularity=str(kind.finer), text=text)
        return finer, coarser


def _twins(pair: CrossPair) -> set[str]:
    """What no other pair of a batch may share."""
    return {f"\0{pair[0].alignment_id}", *(row.text.casefold() for row in pair)}


def kind_name(kind: Kind) -> str:
    """Like `phrase-paragraph`, or `phrase-paragraph-excerpt`."""
    return f"{kind.finer}-{kind.coarser}" + "-excerpt" * kind.excerpt


def _is_crossed(entity: Entity, excerpts: bool) -> bool:
    return any(True for _ in _kinds(entity, excerpts))


def _kinds(entity: Entity, excerpts: bool) -> Iterator[tuple[Kind, str]]:
    """What can be drawn from an entity, with the language of the coarser text."""
    languages: dict[str, dict[str, None]] = {}
    for row in entity.rows:
        languages.setdefault(row.granularity, {})[row.language] = None
    for finer, coarser in product(TEXT_GRANULARITIES, repeat=2):
        if TEXT_GRANULARITIES.index(finer) < TEXT_GRANULARITIES.index(coarser):
            if finer in languages:
                for language in languages.get(coarser, ()):
                    yield Kind(finer, coarser, False), language
            if (
                excerpts
                and coarser == Granularity.PARAGRAPH
                and len(languages.get(coarser, ())) > 1
            ):
                for language in languages[coarser]:
                    yield Kind(finer, coarser, True), language


def _pick(
    entity: Entity, granularity: Granularity, languages: set[str], rng: np.random.Generator
) -> Row:
    """A row of `granularity`: each of `languages` is as likely, and each of its texts."""
    by_language: dict[str, list[Row]] = {}
    for row in entity.rows:
        if row.granularity == granularity and row.language in languages:
            by_language.setdefault(row.language, []).append(row)
    rows = by_language[sorted(by_language)[int(rng.integers(len(by_language)))]]
    return rows[int(rng.integers(len(rows)))]


def _shares(counts: Sequence[int], exponent: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    weights = np.array(counts, np.float64) ** exponent
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = weights / weights.sum()
    return shares


def _draw(alignment_id: str) -> bytes:
    return blake2b(alignment_id.encode(), digest_size=8).digest()
