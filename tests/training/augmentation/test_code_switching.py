from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.augmentation.code_switching import code_switch
from training.dictionary import Dictionary, Word

DICTIONARY = Dictionary.of(
    [
        [Word("en", "dog"), Word("de", "Hund"), Word("fr", "chien"), Word("ja", "犬")],
        [Word("en", "dog"), Word("de", "Hund")],
        [Word("en", "dog"), Word("de", "Hund")],
        [Word("en", "dog"), Word("de", "Köter")],
        [Word("en", "world"), Word("zh", "世界"), Word("th", "โลก"), Word("fr", "monde")],
        [Word("zh", "大世界"), Word("fr", "univers")],
        [Word("zh", "世界观"), Word("fr", "idéologie")],
        [Word("en", "blue"), Word("fr", "bleu")],
    ]
)
SEEDS = st.integers(0, 2**32)


def _switch(
    text: str, language: str, into: tuple[str, ...], rate: float = 1.0, seed: int = 0
) -> str:
    return code_switch(text, language, into, DICTIONARY, rate, np.random.default_rng(seed))


def test_words_become_partners_in_the_wanted_languages_and_keep_their_capitals() -> None:
    assert _switch("Blue dog, BLUE world!", "en", ("fr",)) == "Bleu chien, BLEU monde!"
    assert _switch("the dog's blue", "en", ("de",)) == "the dog's blue"
    assert _switch("a dog", "en", ("de", "en")) in ("a Hund", "a Köter")
    assert _switch("a dog", "en", ("en", "xx")) == "a dog"
    assert _switch("a dog", "xx", ("de",)) == "a dog"


def test_a_text_without_spaces_is_searched_for_its_longest_words() -> None:
    # Both are longer than 世界 in them.
    assert _switch("在大世界里", "zh", ("fr",)) == "在 univers 里"
    assert _switch("的世界观", "zh", ("fr",)) == "的 idéologie"
    assert _switch("世界好。世界", "zh", ("fr",)) == "monde 好。monde"
    assert _switch("世界世界", "zh", ("fr",)) == "monde monde"
    assert _switch("好世界", "zh", ("th",)) == "好โลก"
    # One letter is found inside other words: it is left alone.
    assert _switch("犬が好き", "ja", ("en",)) == "犬が好き"


def test_languages_are_drawn_alike_and_words_by_the_meanings_they_share() -> None:
    found = Counter(_switch("dog", "en", ("de", "fr"), seed=seed) for seed in range(2000))
    assert set(found) == {"Hund", "Köter", "chien"}
    assert found["chien"] == pytest.approx(1000, abs=100)
    assert found["Hund"] == pytest.approx(750, abs=100)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_share_of_words_replaced_is_the_rate(rate: float) -> None:
    words = _switch(" ".join(["dog"] * 3000), "en", ("fr",), rate).split()
    assert len(words) == 3000
    assert words.count("chien") / 3000 == pytest.approx(rate, abs=0.04)
    run = _switch("世界好" * 2000, "zh", ("fr",), rate)
    assert run.count("monde") / 2000 == pytest.approx(rate, abs=0.04)


@given(
    text=st.lists(st.sampled_from(["dog ", "世界", "好", "e\u0301 ", "Blue, ", "โลก"])).map("".join)
    | st.text(),
    language=st.sampled_from(["en", "zh", "th"]),
    rate=st.floats(0, 1),
    seed=SEEDS,
)
def test_a_seed_says_all_and_no_text_becomes_empty(
    text: str, language: str, rate: float, seed: int
) -> None:
    first = _switch(text, language, ("fr", "de"), rate, seed)
    assert first == _switch(text, language, ("fr", "de"), rate, seed)
    assert bool(first.strip()) == bool(text.strip())
    assert _switch(text, language, ("fr", "de"), 0.0, seed) == text
