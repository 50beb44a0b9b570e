import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.errors import TrainingError
from training.student.pairs import Sampling, UnitSampler
from training.student.tokens import TokenizedCorpus


@given(step=st.integers(0, 10_000), size=st.integers(1, 40), share=st.sampled_from([0.0, 0.5, 1.0]))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pairs_are_translations_and_no_text_or_unit_comes_twice(
    tokens: TokenizedCorpus, step: int, size: int, share: float
) -> None:
    batch = UnitSampler(tokens, Sampling(english_share=share)).batch(step, size)
    assert len(batch.source) == len(batch.target) == len(batch.english) == size
    assert (tokens.unit[batch.source] == tokens.unit[batch.target]).all()
    assert (tokens.unit[batch.source] == tokens.unit[batch.english]).all()
    assert (tokens.language[batch.source] != tokens.language[batch.target]).all()
    assert (tokens.language[batch.english] == tokens.english).all()
    assert len(np.unique(tokens.unit[batch.source])) == size
    for side in (batch.source, batch.target):
        assert len(np.unique(tokens.text_key[side])) == size
    if share == 1.0:
        assert (batch.target == batch.english).all()


def test_a_batch_is_a_function_of_seed_and_step(tokens: TokenizedCorpus) -> None:
    one, other = (UnitSampler(tokens, Sampling(seed=seed)) for seed in (1, 2))
    same = UnitSampler(tokens, Sampling(seed=1))
    np.testing.assert_array_equal(one.batch(3, 20).source, same.batch(3, 20).source)
    assert (one.batch(3, 20).source != one.batch(4, 20).source).any()
    assert (one.batch(3, 20).source != other.batch(3, 20).source).any()


def test_draws_follow_the_weights(tokens: TokenizedCorpus) -> None:
    sampling = Sampling(
        granularity_weights={"phrase": 0.0, "paragraph": 3.0}, language_weights={"de": 5.0}
    )
    sampler = UnitSampler(tokens, sampling)
    drawn = np.concatenate([sampler.batch(step, 4).source for step in range(500)])
    grains = np.bincount(tokens.granularity[drawn], minlength=3) / len(drawn)
    names = dict(zip(tokens.granularities, grains, strict=True))
    assert names["phrase"] == 0
    assert names["paragraph"] == pytest.approx(0.75, abs=0.04)
    german = (tokens.language[drawn] == tokens.languages.index("de")).mean()
    assert german == pytest.approx(5 / 14, abs=0.04)
    assert sampler.shares()["de"] == pytest.approx(5 / 14)
    assert sampler.shares()["en"] == 0


def test_units_may_be_kept_out(tokens: TokenizedCorpus) -> None:
    allowed = np.zeros(len(tokens.units) - 1, np.bool_)
    allowed[:7] = True
    batch = UnitSampler(tokens, Sampling(), allowed).batch(0, 5)
    assert tokens.unit[batch.source].max() < 7


def test_what_cannot_be_drawn_is_refused(tokens: TokenizedCorpus) -> None:
    with pytest.raises(TrainingError, match="use a batch of at most"):
        UnitSampler(tokens, Sampling()).batch(0, 1000)
    with pytest.raises(TrainingError, match="nothing can be drawn"):
        UnitSampler(tokens, Sampling(source_weights={"made": 0.0}))
    with pytest.raises(TrainingError, match="two wanted languages"):
        UnitSampler(tokens, Sampling(), np.zeros(len(tokens.units) - 1, np.bool_))
