"""The aligner against a slow EM, and on a language made up for it."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.aligner import ALPHA, NULL, ROUNDS, TENSION, Aligner, Pair, _Model

WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)


def slow_prior(i: int, n: int, j: int, m: int) -> float:
    def near(i: int) -> float:
        return math.exp(-TENSION * abs((i + 0.5) / n - (j + 0.5) / m))

    return (1 - NULL) * near(i) / sum(near(k) for k in range(n))


def slow_digamma(x: float) -> float:
    """By its recurrence and its series for large x."""
    shift = 0.0
    while x < 20:
        shift -= 1 / x
        x += 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)


def slow_model(pairs: Sequence[Pair]) -> dict[tuple[str, str], float]:
    """IBM model 2 word by word; "" is no word."""
    targets = {word for _, target in pairs for word in target}
    chances: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(ROUNDS):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        totals: dict[str, float] = defaultdict(float)
        for source, target in pairs:
            for j, made in enumerate(target):
                shares = [("", NULL * chances["", made])]
                for i, maker in enumerate(source):
                    prior = slow_prior(i, len(source), j, len(target))
                    shares.append((maker, prior * chances[maker, made]))
                for maker, share in shares:
                    part = share / sum(each for _, each in shares)
                    counts[maker, made] += part
                    totals[maker] += part
        chances = defaultdict(
            float,
            {
                (maker, made): math.exp(
                    slow_digamma(count + ALPHA) - slow_digamma(totals[maker] + ALPHA * len(targets))
                )
                for (maker, made), count in counts.items()
            },
        )
    return chances


@settings(deadline=None, max_examples=30)
@given(pairs=st.lists(st.tuples(WORDS, WORDS.map(lambda words: [w.upper() for w in words]))))
def test_chances_are_those_of_em_word_by_word(pairs: list[Pair]) -> None:
    expected = slow_model(
        [([w.casefold() for w in s], [w.casefold() for w in t]) for s, t in pairs]
    )
    model = _Model.fit(pairs)
    name = {0: "", **{number: word for word, number in model.sources.items()}}
    made = {number: word for word, number in model.targets.items()}
    found = {
        (name[int(key) // len(made)], made[int(key) % len(made)]): chance
        for key, chance in zip(model.keys, model.chances, strict=True)
    }
    assert found.keys() == expected.keys()
    for key, chance in found.items():
        assert chance == pytest.approx(expected[key], rel=1e-6, abs=1e-12)


def _sentences(count: int, seed: int) -> list[list[int]]:
    """Of "words" 0 to 29, among which 0 is as common as a small word; none twice but that one."""
    rng = random.Random(seed)
    return [
        [word for content in rng.sample(range(1, 30), 4) for word in (0, content)]
        for _ in range(count)
    ]


def test_a_language_in_another_order_is_learnt() -> None:
    """Content words are moved by one place, each with its small word before it."""

    def translated(words: list[int]) -> tuple[list[str], list[str], list[tuple[int, int]]]:
        order = [2, 3, 0, 1, 4, 5, 6, 7]
        links = sorted((place, at) for at, place in enumerate(order))
        return [f"s{w}" for w in words], [f"t{words[p]}" for p in order], links

    train = [translated(words)[:2] for words in _sentences(300, 0)]
    aligner = Aligner.fit(train)
    right = wrong = 0
    for words in _sentences(50, 1):
        left, other, links = translated(words)
        found = aligner.links(left, other)
        contents = [(i, j) for i, j in links if words[i]]
        assert [(i, j) for i, j in found if words[i]] == contents
        # The small words that did not move are told apart by their places.
        still = {(4, 4), (6, 6)}
        right += len(still & set(found))
        wrong += len({(4, 6), (6, 4)} & set(found))
    assert (right, wrong) == (100, 0)


def test_a_word_without_partner_is_left_alone() -> None:
    train = [([f"s{a}", f"s{b}"], ["um", f"t{a}", f"t{b}"]) for a in range(9) for b in range(9)]
    aligner = Aligner.fit(train)
    assert aligner.links(["s1", "s2"], ["um", "t1", "t2"]) == [(0, 1), (1, 2)]


def test_unseen_words_link_where_they_are_written_alike() -> None:
    aligner = Aligner.fit([(["one", "two"], ["uno", "dos"])] * 5 + [(["one"], ["uno"])] * 5)
    assert aligner.links(["two", "Paris"], ["paris", "dos"]) == [(0, 1), (1, 0)]


def test_case_does_not_matter() -> None:
    aligner = Aligner.fit([(["One", "two"], ["UNO", "dos"])] * 5 + [(["one"], ["uno"])] * 5)
    assert aligner.links(["TWO", "ONE"], ["Dos", "Uno"]) == [(0, 0), (1, 1)]


def test_a_text_without_words_has_no_links() -> None:
    aligner = Aligner.fit([([], ["x"]), (["a"], ["x"])])
    assert aligner.links([], ["x"]) == []
    assert aligner.links(["a"], []) == []
    assert aligner.links(["a"], ["x"]) == [(0, 0)]
    assert Aligner.fit([]).links(["a"], ["a"]) == [(0, 0)]
