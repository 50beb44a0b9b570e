from __future__ import annotations

import re

import pytest

from models.bundle import Granularity
from tests.training.ablation.conftest import PlanWriter
from tests.training.evaluation.eval_sets import FakeEncoder, number_of, write_all
from training.ablation.cost import TYPICAL_TOKENS, measuring_tokens, training_cost
from training.ablation.jobs import Choice, expand
from training.ablation.measuring import EvaluationSets, Noisy, count_texts, measure
from training.ablation.plan import Measure, Noise, Plan
from training.corpora.sampling import PairSampler
from training.data import Corpus, Loader

LANGUAGES = ("de", "fr")
CLEAN = Measure(task="tatoeba", languages=LANGUAGES)
XSIM = Measure(task="xsim", languages=LANGUAGES)
NAMES = Measure(task="dbp15k", languages=LANGUAGES, figure="mrr")
TYPOS = Measure(task="tatoeba", languages=LANGUAGES, noise=Noise.TYPOS, rate=1.0)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSets:
    return EvaluationSets(write_all(tmp_path_factory.mktemp("eval")))


def test_all_texts_go_through_the_one_adapter(sets: EvaluationSets) -> None:
    encoder = FakeEncoder(able=frozenset({"sentence"}))
    found = measure(encoder, "sentence", [NAMES, XSIM, CLEAN], sets)
    assert found[CLEAN.key].figures["accuracy"] == 100
    assert found[XSIM.key].figures["error"] == 0
    assert found[NAMES.key].figures["mrr"] == 100
    assert found[CLEAN.key].over == "mean of 2"
    assert set(found[CLEAN.key].by_language) == set(LANGUAGES)
    assert {adapter for adapter, _ in encoder.encoded} == {"sentence"}
    # Tatoeba's texts once for both of its tasks.
    assert len(encoder.encoded) == len(set(encoder.encoded))
    assert len(encoder.encoded) == sum(count_texts([NAMES, XSIM, CLEAN], sets).values())
    blind = FakeEncoder(able=frozenset())
    assert measure(blind, "none", [CLEAN], sets)[CLEAN.key].figures["accuracy"] < 20
    assert {adapter for adapter, _ in blind.encoded} == {None}


def test_noise_is_on_every_text_and_the_same_each_time(sets: EvaluationSets) -> None:
    encoder = FakeEncoder(able=frozenset({"sentence"}))
    found = measure(encoder, "sentence", [CLEAN, TYPOS], sets)
    assert set(found) == {CLEAN.key, TYPOS.key}
    read = [text for _, text in encoder.encoded]
    counted = count_texts([CLEAN, TYPOS], sets)[Granularity.SENTENCE]
    assert len(read) == counted == 2 * count_texts([CLEAN], sets)[Granularity.SENTENCE]
    clean, noisy = read[: counted // 2], read[counted // 2 :]
    # A typo in every word of three letters or more, and none in the number that is the meaning.
    assert all(one != other for one, other in zip(clean, noisy, strict=True))
    assert [number_of(one) for one in clean] == [number_of(other) for other in noisy]
    assert found[TYPOS.key].figures["accuracy"] == 100
    again = FakeEncoder(able=frozenset({"sentence"}))
    measure(again, "sentence", [TYPOS], sets)
    assert [text for _, text in again.encoded] == noisy


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (Noise.CASING, lambda one, other: one.casefold() == other.casefold()),
        (Noise.WORD_ORDER, lambda one, other: _words(one) == _words(other)),
        (Noise.PUNCTUATION, lambda one, other: _letters(one) == _letters(other)),
    ],
)
def test_each_kind_of_noise_is_its_own(noise: Noise, expected: object) -> None:
    assert callable(expected)
    text = "One sentence, with some words; and a mark, and more of them, in the end."
    changed = Noisy(FakeEncoder(able=frozenset()), noise, 1.0).changed(text)
    assert changed != text
    assert expected(text, changed)


def _words(text: str) -> list[str]:
    return sorted(re.findall(r"\w+", text))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def test_words_take_no_noise() -> None:
    with pytest.raises(ValueError, match="it takes no noise"):
        Measure(task="word-alignment", languages=("de",), noise=Noise.TYPOS)


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("", 1.0),
        ("gradient_cache = true", 1.5),
        ("anchor = 0.5", 1.25),
        ("objectives = { masked = 1.0 }", 1.0),
        ("objectives = { info_nce = 1.0, masked = 0.5 }", 2.0),
        ("objectives = { info_nce = 1.0, tcm = 1.0 }", 1.25),
        ("objectives = { tcm_average = 1.0 }", 1.5),
    ],
)
def test_the_cost_counts_passes(line: str, passes: float, write_plan: PlanWriter) -> None:
    file = write_plan(
        ("steps = 5", f"steps = 5\naccumulation_steps = 3\n{line}"),
        ("[recipe]", '[recipe]\nteacher = "there"'),
    )
    runs = expand(Plan.read(file), {"backbone": "there"}, Choice(arms=("cold", "plain")))
    costs = {job.trained: training_cost(job) for job in runs.jobs}
    texts = 5 * 3 * 8 * 2
    assert (costs[True].steps, costs[True].texts) == (5, texts)
    assert costs[True].tokens == passes * texts * TYPICAL_TOKENS[Granularity.SENTENCE]
    assert (costs[False].steps, costs[False].texts, costs[False].tokens) == (0, 0, 0)
    assert measuring_tokens({Granularity.PHRASE: 3, Granularity.SENTENCE: 2}) == 3 * 8 + 2 * 32


def test_a_recipe_chooses_batches_of_a_single_language(
    write_plan: PlanWriter, corpus: Corpus
) -> None:
    for value, single in (("single", True), ("mixed", False)):
        file = write_plan(("[recipe]", f'[recipe]\nbatch_languages = "{value}"'))
        runs = expand(Plan.read(file), {"backbone": "there"}, Choice(arms=("cold",)))
        sampler = Loader(runs.jobs[0].recipe, corpus).translations("sentence").sampler
        assert isinstance(sampler, PairSampler)
        drawn = [{pair.language for pair in sampler.batch(step, 8)} for step in range(20)]
        assert all(len(languages) == 1 for languages in drawn) is single
        assert set().union(*drawn) == {"de", "fr"}
