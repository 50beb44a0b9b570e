"""Texts to measure with are of their kind, and always the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from benchmarks import texts
from benchmarks.serve.scenarios import CLOSED, KINDS, SHAPES, Scenario, open_scenarios
from benchmarks.texts import Kind
from models.bundle import DEFAULT_BUNDLE, Granularity
from service.encoding.granularity import route

WORDS = [a + b + "th" for a in "abcdefghijklm" for b in "aeiou"]


@pytest.mark.parametrize(
    ("kind", "fewest", "most"),
    [(Kind.PHRASE, 1, 5), (Kind.SENTENCE, 5, 40), (Kind.PARAGRAPH, 50, 220)],
)
def test_texts_have_the_length_and_the_form_of_their_kind(
    kind: Kind, fewest: int, most: int
) -> None:
    made = texts.make(WORDS, kind, 300)
    lengths = [len(text.split()) for text in made]
    assert fewest <= min(lengths) < max(lengths) <= most
    assert len(set(made)) > 250
    assert texts.make(WORDS, kind, 300) == made != texts.make(WORDS, kind, 300, seed=1)
    # What the service would take them for.
    assert {route(text) for text in made} == {Granularity(kind)}


def test_a_mix_has_half_phrases_and_few_paragraphs() -> None:
    taken = [route(text) for text in texts.make(WORDS, Kind.MIX, 2_000)]
    shares = [taken.count(one) / 2_000 for one in (Granularity.PHRASE, Granularity.PARAGRAPH)]
    assert shares == pytest.approx([0.5, 0.15], abs=0.04)


def test_words_are_plain_and_of_the_vocabulary(tmp_path: Path) -> None:
    words = texts.words_of(DEFAULT_BUNDLE / "tokenizer.json")
    vocabulary = set(Tokenizer.from_file(str(DEFAULT_BUNDLE / "tokenizer.json")).get_vocab())
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert all({word, f"Ġ{word}", f"▁{word}"} & vocabulary for word in words)
    few = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"the": 0, "##cat": 1, "A1": 2}, unk_token="the")).save(str(few))
    with pytest.raises(ValueError, match="has 1 plain words"):
        texts.words_of(few)


def test_batches_are_full_and_hold_no_text_twice_in_a_row() -> None:
    batches = Scenario(Kind.SENTENCE, 32, 8).batches(WORDS, seed=0)
    assert {len(batch) for batch in batches} == {32}
    assert len(batches) == 128
    assert all(len(set(batch)) == 32 for batch in batches)
    assert Scenario(Kind.PHRASE, 5_000, 1).batches(WORDS, seed=0)[0][4_999]


def test_scenarios_are_all_shapes_of_all_kinds_each_with_a_name_of_its_own() -> None:
    every = (*CLOSED, *open_scenarios(KINDS, [10, 2.5]))
    assert len({one.name for one in every}) == len(every) == len(KINDS) * (len(SHAPES) + 2)
    assert Scenario(Kind.MIX, 32, 8).name == "mix, 8 clients × 32 texts"
    assert Scenario(Kind.MIX, 1, rate_per_s=2.5).name == "mix, 2.5 requests/s × 1 text"
