"""How the mining set is built, and its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training.evaluation.eval_sets import (
    Vectorizer,
    meaning,
    write_tatoeba,
)
from training.evaluation.languages import Languages
from training.evaluation.similarity import mine
from training.evaluation.tasks import mining, tatoeba

ALL = Languages(None)


def _mining_folder(folder: Path, extra: Sequence[tuple[str, str, str]] = ()) -> Path:
    german = [("deu", f"english {n}", f"deutsch {n}") for n in range(40)]
    others = [("fra", f"other {n}", f"autre {n}") for n in range(40, 60)]
    write_tatoeba(folder, [*german, *others, *extra])
    return folder


def test_mining_halves_are_disjoint_and_half_of_the_sources_are_alone(tmp_path: Path) -> None:
    dev, test = mining.load(_mining_folder(tmp_path), ALL).halves["de"]
    assert not {*dev.sources, *dev.targets} & {*test.sources, *test.targets}
    for half in (dev, test):
        assert len(half.sources) == 20
        assert len(half.gold) == 10
        assert {source for source, _ in half.gold} <= set(half.sources)
        assert {target for _, target in half.gold} <= set(half.targets)
        # Ten translations, and half of the twenty French pairs' English sides.
        assert len(half.targets) == 10 + 10


def test_a_source_that_is_to_stand_alone_never_has_a_translation_in_the_pool(
    tmp_path: Path,
) -> None:
    # Every German text shares its English with another: some meet in one half.
    rows = [("deu", f"english {n // 2}", f"deutsch {n}") for n in range(80)]
    write_tatoeba(tmp_path, rows)
    english = {other: text for _, text, other in rows}
    dropped = 0
    for half in mining.load(tmp_path, ALL).halves["de"]:
        alone = set(half.sources) - {source for source, _ in half.gold}
        assert not {english[source] for source in alone} & set(half.targets)
        dropped += 40 - len(half.sources)
    assert dropped > 0


def test_mining_does_not_depend_on_the_choice_or_order_of_the_rows(tmp_path: Path) -> None:
    whole = mining.load(_mining_folder(tmp_path), ALL).halves["de"]
    assert mining.load(tmp_path, Languages.parse(["de"])).halves["de"] == whole
    file = tmp_path / "tatoeba.pairs.tsv.xz"
    german = tatoeba.read(tmp_path, ALL)["de"]
    pairs = list(zip(german.english, german.other, strict=True))
    others = [("fra", f"other {n}", f"autre {n}") for n in range(59, 39, -1)]
    file.unlink()
    write_tatoeba(tmp_path, [*others, *(("deu", a, b) for a, b in reversed(pairs))])
    assert mining.load(tmp_path, ALL).halves["de"] == whole


def _half(first: int, gold: int) -> mining.Half:
    """Ten sources of which `gold` have their translation among ten targets."""
    sources = [f"source {first + number}" for number in range(10)]
    targets = [f"target {first + number + 50 * (number >= gold)}" for number in range(10)]
    return mining.Half(sources, targets, frozenset(list(zip(sources, targets, strict=True))[:gold]))


@pytest.mark.parametrize(
    ("dev_gold", "precision", "recall"),
    # With half of them right, the threshold falls between; with all, it accepts whatever is mined
    # of the other half; with none, it accepts nothing.
    [(5, 100, 100), (10, None, 100), (0, 0, 0)],
)
def test_the_threshold_of_the_first_half_cuts_the_second(
    dev_gold: int, precision: float | None, recall: float
) -> None:
    dev, test = _half(0, dev_gold), _half(100, 5)
    scored = mining.MiningSet({"de": (dev, test)}).score(Vectorizer(meaning))
    figures = scored.by_language["de"]
    sources, targets = (
        np.stack([meaning(text) for text in side]) for side in (test.sources, test.targets)
    )
    mined = mine(sources, targets)
    assert len(mined.sources) > 5
    assert figures["recall"] == recall
    assert figures["precision"] == (
        pytest.approx(100 * 5 / len(mined.sources)) if precision is None else precision
    )
