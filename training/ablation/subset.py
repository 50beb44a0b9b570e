"""A smaller corpus: the same pairs every time, so that arms differ in nothing but the recipe."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from pathlib import Path

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.ablation.plan import Subset
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import load_pairs
from training.corpora.tsv import ANCHOR, PAIRS_COLUMNS, Pair
from training.data import Corpus
from training.files import replace
from training.recipe import Recipe

FILE = "subset.pairs.tsv"


def write_subset(subset: Subset, recipe: Recipe, corpus: Corpus, folder: Path) -> Path:
    """The folder below `folder` that holds the pairs of `corpus` that `recipe` may train on, at
    most `subset.pairs` of each language and granularity; written where it is not there yet.

    The choice follows a hash of the texts alone, so it is the same in any order of the corpus, and
    a larger subset holds a smaller one. Pairs of different granularity are not in it.
    """
    wanted = {plan.pairs for plan in recipe.adapters.values()}
    granularities = [each for each in TEXT_GRANULARITIES if each in wanted]
    asked = [subset.pairs, granularities, sorted(recipe.languages), sorted(recipe.excluded_sources)]
    target = folder / hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        banned = fingerprints(evaluation_texts(corpus.evaluation))
        rows: list[str] = []
        for granularity in granularities:
            pairs = load_pairs(
                corpus.path,
                granularity,
                recipe.languages,
                banned,
                frozenset(recipe.excluded_sources),
            )
            for pool in pairs.values():
                rows += _rows(granularity, heapq.nsmallest(subset.pairs, pool, key=_draw))
        replace(target, lambda staged: _write(staged, rows))
    return target


def _rows(granularity: Granularity, pairs: Iterable[Pair]) -> Iterable[str]:
    for pair in pairs:
        cells = (pair.source, granularity, pair.id, ANCHOR, pair.language, pair.english, pair.other)
        # A text of a table may hold a tab, which this layout cannot.
        yield "\t".join(" ".join(cell.split("\t")) for cell in cells)


def _write(folder: Path, rows: Iterable[str]) -> None:
    folder.mkdir()
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as out:
        for row in ("\t".join(PAIRS_COLUMNS), *rows):
            out.write(" ".join(row.split("\n")) + "\n")


def _draw(pair: Pair) -> bytes:
    text = f"{pair.language}\0{pair.english}\0{pair.other}"
    return hashlib.blake2b(text.encode(), digest_size=8, person=b"subset").digest()
