from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Granularity
from tests.tiny_training import LANGUAGES
from training.corpora.build import BuildOptions, build
from training.corpora.overlap import evaluation_texts, fingerprint, fingerprints
from training.corpora.rows import Defaults
from training.corpora.sampling import PairSampler, load_pairs
from training.corpora.tsv import Pair
from training.errors import TrainingError


def _pairs(language: str, count: int) -> list[Pair]:
    return [
        Pair(str(n), "s", language, f"en {language} {n}", f"{language} {n}") for n in range(count)
    ]


@given(seed=st.integers(0, 99), step=st.integers(0, 999), size=st.integers(2, 30))
def test_a_batch_repeats_for_its_step_and_holds_no_text_twice(
    seed: int, step: int, size: int
) -> None:
    pairs = {"de": _pairs("de", 40), "fr": _pairs("fr", 40)}
    batch = PairSampler(pairs, 0.5, seed).batch(step, size)
    assert batch == PairSampler(pairs, 0.5, seed).batch(step, size)
    assert len(batch) == size
    assert len({pair.english for pair in batch} | {pair.other for pair in batch}) == 2 * size


def test_steps_and_seeds_draw_different_batches() -> None:
    pairs = {"de": _pairs("de", 500)}
    assert PairSampler(pairs, 1, 0).batch(0, 8) != PairSampler(pairs, 1, 0).batch(1, 8)
    assert PairSampler(pairs, 1, 0).batch(0, 8) != PairSampler(pairs, 1, 1).batch(0, 8)


@pytest.mark.parametrize(("exponent", "expected"), [(1.0, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_the_exponent_lifts_the_rare_language(exponent: float, expected: float) -> None:
    sampler = PairSampler({"de": _pairs("de", 9000), "fr": _pairs("fr", 1000)}, exponent, 0)
    drawn = Counter(pair.language for step in range(40) for pair in sampler.batch(step, 100))
    assert drawn["de"] / drawn.total() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("source_exponent", [1.0, 0.0])
def test_a_batch_of_a_single_language_is_of_each_in_its_share(source_exponent: float) -> None:
    pairs = {
        language: [
            replace(pair, source="ab"[place % 10 == 0])
            for place, pair in enumerate(_pairs(language, count))
        ]
        for language, count in (("de", 900), ("fr", 100))
    }
    sampler = PairSampler(pairs, 0.5, 0, source_exponent, single_language=True)
    batches = [sampler.batch(step, 8) for step in range(800)]
    assert all(len({pair.language for pair in batch}) == 1 for batch in batches)
    assert batches[3] == sampler.batch(3, 8)
    drawn = Counter(batch[0].language for batch in batches)
    assert drawn["de"] / drawn.total() == pytest.approx(0.75, abs=0.05)  # 30 : 10
    sources = Counter(pair.source for batch in batches for pair in batch)
    expected = 0.9 if source_exponent else 0.5  # a tenth of each language is of the second source
    assert sources["a"] / sources.total() == pytest.approx(expected, abs=0.03)


def test_a_single_language_that_is_too_small_for_a_batch_is_named() -> None:
    sampler = PairSampler({"sw": _pairs("sw", 5)}, 1, 0, single_language=True)
    with pytest.raises(TrainingError, match=r"8 pairs of sw needs more .* at most 5 pairs"):
        sampler.batch(0, 8)


def test_translations_of_one_english_text_never_share_a_batch() -> None:
    shared = {
        language: [
            Pair(str(n), "s", language, f"english {n}", f"{language} {n}") for n in range(20)
        ]
        for language in ("de", "fr", "ja")
    }
    batch = PairSampler(shared, 1, 0).batch(0, 15)
    assert len({pair.english for pair in batch}) == 15


def _batch_of_0_1(
    pairs: Mapping[str, Sequence[Pair]], exponent: float, seed: int, step: int, size: int
) -> list[Pair]:
    """The draw that polygrain-mini 0.1 was trained by, written down once more."""
    rng = np.random.default_rng([seed, step])
    languages = sorted(language for language, pool in pairs.items() if pool)
    weights = np.array([float(len(pairs[language])) for language in languages]) ** exponent
    chosen: list[Pair] = []
    seen: set[str] = set()
    for index in rng.choice(len(languages), size * 20, p=weights / weights.sum()):
        pool = pairs[languages[index]]
        pair = pool[int(rng.integers(len(pool)))]
        twins = {pair.english.casefold(), pair.other.casefold()}
        if not seen & twins and len(chosen) < size:
            seen |= twins
            chosen.append(pair)
    return chosen


@given(
    exponent=st.floats(0, 1),
    seed=st.integers(0, 99),
    step=st.integers(0, 10_000),
    size=st.integers(2, 12),
)
def test_without_a_source_exponent_the_data_order_is_that_of_0_1(
    exponent: float, seed: int, step: int, size: int
) -> None:
    pairs = {"fr": _pairs("fr", 90), "de": _pairs("de", 40), "ja": _pairs("ja", 1), "ko": []}
    pairs["fr"][50:] = [replace(pair, source="another") for pair in pairs["fr"][50:]]
    expected = _batch_of_0_1(pairs, exponent, seed, step, size)
    assert PairSampler(pairs, exponent, seed).batch(step, size) == expected


@pytest.mark.parametrize(("exponent", "expected"), [(0.999999, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_the_source_exponent_lifts_the_small_source_within_its_language(
    exponent: float, expected: float
) -> None:
    def pairs(source: str, language: str, count: int) -> list[Pair]:
        texts = ((f"en {language} {source} {n}", f"{language} {source} {n}") for n in range(count))
        return [Pair(str(n), source, language, *text) for n, text in enumerate(texts)]

    pools = {"de": pairs("a", "de", 9000) + pairs("b", "de", 1000), "fr": pairs("a", "fr", 10_000)}
    sampler = PairSampler(pools, 1.0, 0, exponent)
    drawn = Counter(
        (pair.language, pair.source) for step in range(60) for pair in sampler.batch(step, 100)
    )
    german = drawn["de", "a"] + drawn["de", "b"]
    assert drawn["de", "a"] / german == pytest.approx(expected, abs=0.03)
    assert german / drawn.total() == pytest.approx(0.5, abs=0.03)


def test_a_table_gives_the_pairs_that_its_folder_gives(
    corpus_folder: Path, evaluation_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "c.parquet"
    build([corpus_folder], table, BuildOptions(None, Defaults("CC0")))
    banned = fingerprints(evaluation_texts(evaluation_folder))

    def found(corpus: Path, sources: frozenset[str] = frozenset()) -> set[Pair]:
        pools = load_pairs(corpus, Granularity.PHRASE, ["de", "ja"], banned, sources)
        assert list(pools) == ["de", "ja"]
        return {pair for pool in pools.values() for pair in pool}

    # Under one id the made-up texts have one English each, and nothing in them is unclean.
    assert len(found(corpus_folder)) == 120
    assert found(table) == found(corpus_folder)
    assert found(table, frozenset({"made"})) == set()


def test_a_batch_larger_than_the_corpus_is_refused() -> None:
    with pytest.raises(TrainingError, match="at most 3 pairs"):
        PairSampler({"de": _pairs("de", 3)}, 1, 0).batch(0, 4)
    with pytest.raises(TrainingError, match="no pairs left"):
        PairSampler({"de": []}, 1, 0)


def test_loading_drops_evaluation_text_and_excluded_sources(
    corpus_folder: Path, evaluation_folder: Path
) -> None:
    banned = fingerprints(evaluation_texts(evaluation_folder))
    pairs = load_pairs(corpus_folder, Granularity.SENTENCE, LANGUAGES, banned)
    assert set(pairs) == set(LANGUAGES)
    # Text number 5 was planted in the test set: one of the 60 is gone in every language.
    assert {len(pool) for pool in pairs.values()} == {59}
    assert not any(fingerprint(pair.english) in banned for pool in pairs.values() for pair in pool)
    empty = load_pairs(corpus_folder, Granularity.SENTENCE, LANGUAGES, banned, frozenset({"made"}))
    assert not any(empty.values())
