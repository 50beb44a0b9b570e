"""The parent's tokenizer is the oracle: what a cut one can say it must say as its parent does."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from tests.training.trimming.tokenizers_by_kind import (
    KINDS,
    TEXTS,
    byte_level_bpe,
    suffix_bpe,
    word_piece,
)
from training.errors import TrainingError
from training.trimming.choice import Choice, choose
from training.trimming.tokenizer import Characters, Vocabulary, Why, cut

PADDING = "<pad>"
_MADE_UP = st.text("abcdeflnorst räßдомكт赤い家집 ", min_size=1, max_size=12)


def _vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary.read(tokenizer.to_str(), tokenizer.token_to_id(PADDING))


def _choose(
    tokenizer: Tokenizer, texts: list[str], characters: Characters, size: int | None = None
) -> Choice:
    vocabulary = _vocabulary(tokenizer)
    counts = np.zeros((1, vocabulary.size), dtype=np.int64)
    for text in texts:
        np.add.at(counts[0], tokenizer.encode(text).ids, 1)
    return choose(vocabulary, counts, characters, 1.0, size)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__wrapped__.__name__)
@given(
    used=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=20),
    words=st.lists(st.sampled_from(sorted({w for t in TEXTS for w in t.split()})), max_size=8),
    made_up=_MADE_UP,
    characters=st.sampled_from(Characters),
    size=st.none() | st.integers(450, 600),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_text_whose_tokens_are_all_kept_is_told_as_before(
    make: Callable[[], Tokenizer],
    used: list[str],
    words: list[str],
    made_up: str,
    characters: Characters,
    size: int | None,
) -> None:
    parent = make()
    choice = _choose(parent, used, characters, size)
    smaller = cut(_vocabulary(parent), choice.why)
    child = Tokenizer.from_str(smaller.tokenizer_json)
    assert child.get_vocab_size() == len(choice.why) == len(smaller.old_ids)
    assert size is None or len(choice.why) <= size
    for text in [*used, " ".join(words), made_up, *words]:
        before = parent.encode(text).ids
        after = smaller.old_ids[child.encode(text).ids].tolist()
        if size is None and text in used:
            assert set(before) <= set(choice.why)
        if set(before) <= set(choice.why):
            assert after == before
        unknown = parent.token_to_id("<unk>")
        is_word_level = json.loads(parent.to_str())["model"]["type"] == "WordLevel"
        if characters is Characters.NEEDED and unknown not in before and not is_word_level:
            assert unknown not in after
    for name in ("<pad>", "<s>", "</s>", "<unk>"):
        old, new = parent.token_to_id(name), child.token_to_id(name)
        assert old == new or old >= child.get_vocab_size(with_added_tokens=False)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__wrapped__.__name__)
def test_the_smaller_tokenizer_keeps_its_marks_around_a_text(
    make: Callable[[], Tokenizer],
) -> None:
    parent = make()
    choice = _choose(parent, TEXTS[:3], Characters.USED)
    child = Tokenizer.from_str(cut(_vocabulary(parent), choice.why).tokenizer_json)
    assert child.get_vocab_size() < parent.get_vocab_size()
    tokens = child.encode(TEXTS[0]).tokens
    assert tokens == parent.encode(TEXTS[0]).tokens
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")


def test_characters_are_kept_for_the_texts_of_all_languages_unless_bytes_do() -> None:
    english, korean = TEXTS[0], next(text for text in TEXTS if "집" in text)
    counted = {}
    for make in KINDS:
        tokenizer = make()
        for characters in Characters:
            choice = _choose(tokenizer, [english], characters)
            smaller = cut(_vocabulary(tokenizer), choice.why)
            child = Tokenizer.from_str(smaller.tokenizer_json)
            told = child.token_to_id("<unk>") not in child.encode(korean).ids
            name = make.__wrapped__.__name__  # type: ignore[attr-defined]
            reasons = choice.counted()
            counted[name, str(characters)] = (reasons["byte"], reasons["character"] > 50, told)
    for name in ("byte_level_bpe", "fallback_bpe", "fallback_unigram"):
        assert counted[name, "needed"] == counted[name, "used"] == (256, False, True)
    for name in ("word_piece", "suffix_bpe", "prefix_bpe", "unigram"):
        assert counted[name, "needed"] == (0, True, True)
        assert counted[name, "used"] == (0, False, False)


def test_no_character_is_lost_without_a_trace() -> None:
    """A BPE without an unknown token leaves out what it cannot say, be it bytes or characters."""
    by_bytes = byte_level_bpe()
    choice = _choose(by_bytes, TEXTS[:1], Characters.USED)
    child = Tokenizer.from_str(cut(_vocabulary(by_bytes), choice.why).tokenizer_json)
    assert [child.decode(child.encode(text).ids).strip() for text in TEXTS] == TEXTS
    values = json.loads(suffix_bpe().to_str())
    values["model"]["unk_token"] = None
    parent = Tokenizer.from_str(json.dumps(values))
    choice = _choose(parent, TEXTS[:1], Characters.USED)
    child = Tokenizer.from_str(cut(_vocabulary(parent), choice.why).tokenizer_json)
    for text in TEXTS:
        letters = "".join(child.encode(text).tokens[1:-1]).replace("</w>", "")
        assert letters == text.replace(" ", "")


def test_unknown_characters_of_a_unigram_tokenizer_score_as_before() -> None:
    """The runtime scores them 10 below the lowest score: were that score gone, `a` as an unknown
    character with `bcd` (-61) would win over `ab` with `cd` (-100)."""
    pieces = [("<unk>", 0.0), ("<pad>", 0.0), ("bcd", -1.0), ("ab", -50.0), ("cd", -50.0)]
    parent = Tokenizer(models.Unigram([*pieces, ("a", -499.0), ("zz", -500.0)], unk_id=0))
    choice = _choose(parent, ["abcd", "bcd"], Characters.USED)
    assert {parent.id_to_token(n): why for n, why in choice.why.items()}["zz"] is Why.SCORE
    child = Tokenizer.from_str(cut(_vocabulary(parent), choice.why).tokenizer_json)
    assert child.token_to_id("a") is None
    assert child.encode("abcd").tokens == parent.encode("abcd").tokens == ["ab", "cd"]


def test_padding_is_kept_where_the_file_does_not_name_it() -> None:
    tokenizer = word_piece()
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = []
    vocabulary = Vocabulary.read(json.dumps(values), tokenizer.token_to_id("<pad>"))
    counts = np.zeros((1, vocabulary.size), dtype=np.int64)
    choice = choose(vocabulary, counts, Characters.USED, 1.0, None)
    assert {vocabulary.ids[name] for name in ("<pad>", "<s>", "</s>", "<unk>")} == set(choice.why)
    assert set(choice.why.values()) == {Why.SPECIAL}


def test_what_the_file_adds_or_pads_with_is_renumbered() -> None:
    tokenizer = word_piece()
    tokenizer.add_special_tokens(["<first>", "<second>"])
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<pad>"), pad_token="<pad>")
    choice = _choose(tokenizer, TEXTS[:2], Characters.USED)
    smaller = cut(_vocabulary(tokenizer), choice.why)
    child = Tokenizer.from_str(smaller.tokenizer_json)
    size = child.get_vocab_size()
    assert [child.token_to_id(name) for name in ("<first>", "<second>")] == [size - 2, size - 1]
    assert child.encode("a <second>").ids.count(size - 1) == 1
    assert child.padding is not None
    assert child.padding["pad_id"] == child.token_to_id("<pad>")


def test_what_cannot_be_cut_says_so() -> None:
    values = json.loads(word_piece().to_str())
    with pytest.raises(TrainingError, match="'Odd'; only BPE, Unigram"):
        Vocabulary.read(json.dumps({**values, "model": {"type": "Odd"}}), 0)
    tokenizer = word_piece()
    with pytest.raises(TrainingError, match=r"a vocabulary of 5 is too small: [0-9]+ tokens must"):
        _choose(tokenizer, TEXTS[:1], Characters.NEEDED, 5)
