from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Granularity
from tests.tiny_training import LANGUAGES
from training.corpora.overlap import evaluation_texts, fingerprint, fingerprints
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


def test_translations_of_one_english_text_never_share_a_batch() -> None:
    shared = {
        language: [
            Pair(str(n), "s", language, f"english {n}", f"{language} {n}") for n in range(20)
        ]
        for language in ("de", "fr", "ja")
    }
    batch = PairSampler(shared, 1, 0).batch(0, 15)
    assert len({pair.english for pair in batch}) == 15


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
