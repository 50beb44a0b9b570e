"""The laws that every kind of noise keeps, over texts of many scripts with combining marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from training.augmentation.casing import change_casing
from training.augmentation.pieces import clusters, pieces
from training.augmentation.punctuation import change_punctuation
from training.augmentation.typos import _NEIGHBOURS, typos
from training.augmentation.word_order import shuffle_words

Noise = Callable[[str, float, np.random.Generator], str]
KINDS: dict[str, Noise] = {
    "typos": typos,
    "word order": shuffle_words,
    "casing": change_casing,
    "punctuation": change_punctuation,
}

# Letters with marks, in both normal forms, beside bare ones: a lost mark shows.
_LETTERS = ["a", "é", "e\u0301", "o\u0302\u0323", "ß", "Σ", "ж", "й", "ש\u05c1", "بَّ", "한"]
_LETTERS += ["ष", "कि", "ন\u09cd", "தி", "ที่", "你", "か\u3099", "7"]
WORDS = st.lists(st.sampled_from(_LETTERS), min_size=1, max_size=6).map("".join)
MARKS = st.sampled_from([" ", "  ", ", ", ". ", "! ", " «", "» ", "。", "-", "👩\u200d👧 "])
TEXTS = st.lists(st.tuples(WORDS, MARKS), min_size=1, max_size=8).map(
    lambda parts: "".join(word + mark for word, mark in parts)
)
SEEDS = st.integers(0, 2**32)
RATES = st.floats(0, 1)


def _words(text: str) -> list[str]:
    return pieces(text)[1::2]


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS | st.text(), seed=SEEDS)
def test_rate_zero_is_the_identity(kind: str, text: str, seed: int) -> None:
    assert KINDS[kind](text, 0.0, np.random.default_rng(seed)) == text


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS | st.text(), rate=RATES, seed=SEEDS)
def test_no_text_becomes_empty_and_a_seed_says_all(
    kind: str, text: str, rate: float, seed: int
) -> None:
    first, again = (KINDS[kind](text, rate, np.random.default_rng(seed)) for _ in range(2))
    assert first == again
    assert bool(first.strip()) == bool(text.strip())


@pytest.mark.parametrize("kind", ["word order", "punctuation"])
@given(text=TEXTS, rate=RATES, seed=SEEDS)
def test_words_are_kept_but_for_their_order(kind: str, text: str, rate: float, seed: int) -> None:
    changed = KINDS[kind](text, rate, np.random.default_rng(seed))
    if kind == "word order":
        assert Counter(_words(changed)) == Counter(_words(text))
        assert pieces(changed)[::2] == pieces(text)[::2]
    else:
        letters = [each for each in clusters(text) if each[0].isalnum()]
        assert [each for each in clusters(changed) if each[0].isalnum()] == letters


@given(text=TEXTS, rate=RATES, seed=SEEDS)
@example(text="a aaΣ ", rate=1.0, seed=26321)
def test_typos_put_no_mark_on_another_base(text: str, rate: float, seed: int) -> None:
    changed = typos(text, rate, np.random.default_rng(seed))
    bases: dict[str, set[str]] = {}
    for letter in regex.findall(r"\P{M}\p{M}*", text):
        # A base may become its neighbour on the keyboard, in its case; its marks come with it.
        base = letter[0]
        near = _NEIGHBOURS.get(base.lower(), "")
        bases.setdefault(letter[1:], set()).update(
            {base, *(near.upper() if base.isupper() else near)}
        )
    for letter in regex.findall(r"\P{M}\p{M}*", changed):
        assert letter[0] in bases[letter[1:]]
    marks = Counter(regex.findall(r"\p{M}+", text))
    assert all(
        count <= marks[mark] + len(_words(text))
        for mark, count in Counter(regex.findall(r"\p{M}+", changed)).items()
    )


@given(text=TEXTS, seed=SEEDS)
def test_casing_changes_nothing_but_case(text: str, seed: int) -> None:
    changed = change_casing(text, 1.0, np.random.default_rng(seed))
    assert changed.casefold() == text.casefold()
    for before, after in zip(_words(text), _words(changed), strict=True):
        has_case = any(each.lower() != each.upper() for each in before)
        assert (before != after) == has_case


@given(text=TEXTS, seed=SEEDS, window=st.integers(2, 5))
def test_a_word_moves_by_less_than_the_window(text: str, seed: int, window: int) -> None:
    words = [f"w{place}" for place in range(len(_words(text)))]
    shuffled = shuffle_words(" ".join(words), 1.0, np.random.default_rng(seed), window).split()
    assert sorted(shuffled) == sorted(words)
    assert all(abs(place - words.index(word)) < window for place, word in enumerate(shuffled))


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_the_share_of_what_changes_is_near_the_rate(rate: float) -> None:
    words = ["river", "Haus", "Brücke", "камень", "maison"] * 400
    text = ", ".join(words)
    rng = np.random.default_rng(5)
    for change in (typos, change_casing):
        changed = change(text, rate, rng).split(", ")
        share = np.mean([before != after for before, after in zip(words, changed, strict=True)])
        assert share == pytest.approx(rate, abs=0.05)
    commas = change_punctuation(text, rate, rng)
    # A third of the changed marks each is dropped, doubled and widened.
    left = [commas.count(",,"), commas.count("，")]
    assert left == pytest.approx([len(words) * rate / 3] * 2, rel=0.35)
    numbered = " ".join(map(str, range(3000)))
    moved = shuffle_words(numbered, rate, rng).split()
    away = np.mean([int(word) != place for place, word in enumerate(moved)])
    # Of three words in another order, 2.5 are elsewhere: 3 after a turn, 2 after a swap.
    assert away == pytest.approx(rate * 2.5 / 3, abs=0.05)


def test_all_four_typos_happen_and_numbers_and_unspaced_scripts_are_spared() -> None:
    rng = np.random.default_rng(3)
    seen: Counter[str] = Counter()
    for _ in range(400):
        word = typos("bridge", 1.0, rng)
        if len(word) == 5:
            seen["drop"] += 1
        elif len(word) == 7:
            seen["double"] += 1
        elif sorted(word) == sorted("bridge"):
            seen["swap"] += 1
        else:
            (wrong,) = [pair for pair in zip("bridge", word, strict=True) if pair[0] != pair[1]]
            near = {
                "b": "vngh",
                "r": "etdf",
                "i": "uojk",
                "d": "sfercx",
                "g": "fhtyvb",
                "e": "wrsd",
            }
            assert wrong[1] in near[wrong[0]]
            seen["neighbour"] += 1
    assert set(seen) == {"drop", "double", "swap", "neighbour"}
    assert min(seen.values()) > 60
    for text in ("1984", "你好世界再见", "ฉันรักภาษาไทย", "on it"):
        assert all(typos(text, 1.0, rng) == text for _ in range(20))


def test_capitals_are_kept_by_the_neighbouring_key() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        word = typos("АБВГДЕЖ", 1.0, rng)
        assert word == word.upper()


def test_marks_inside_numbers_stay() -> None:
    rng = np.random.default_rng(1)
    assert all("3.5" in change_punctuation("pay 3.5, now!", 1.0, rng) for _ in range(20))
    assert pieces("at 10:30, don't")[1::2] == ["at", "10:30", "don't"]


@given(text=st.text("!?.,。", min_size=1, max_size=4), seed=SEEDS)
def test_a_text_of_marks_alone_keeps_some(text: str, seed: int) -> None:
    assert change_punctuation(text, 1.0, np.random.default_rng(seed))


def test_a_window_of_one_word_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 1"):
        shuffle_words("a b", 0.5, np.random.default_rng(0), window=1)


@given(text=TEXTS | st.text())
def test_pieces_are_the_text_and_split_no_cluster(text: str) -> None:
    parts = pieces(text)
    assert "".join(parts) == text
    assert len(parts) % 2 == 1
    assert [each for part in parts for each in clusters(part)] == clusters(text)
