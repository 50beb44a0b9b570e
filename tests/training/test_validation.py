from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.corpora.overlap import fingerprint
from training.corpora.tsv import Pair
from training.errors import TrainingError
from training.validation import hold_out, measure, retrieval_accuracy


def _pairs(language: str, count: int) -> list[Pair]:
    return [Pair(f"{n}", "s", language, f"text {n}", f"{language} {n}") for n in range(count)]


def test_no_text_is_trained_on_and_held_out() -> None:
    pairs = {language: _pairs(language, 400) for language in ("de", "fr", "ja")}
    pairs["sw"] = _pairs("sw", 50)
    # The same texts again under another case, and another translation of the same text.
    pairs["de"] += [
        Pair("x", "s", "de", pair.english.upper() + "!", pair.other) for pair in pairs["de"]
    ]
    pairs["fr"] += [
        Pair("y", "s", "fr", f"other {n}", pair.other) for n, pair in enumerate(pairs["fr"])
    ]
    kept, held = hold_out(pairs, 65)
    assert len(held) == 65
    counts = {language: sum(pair.language == language for pair in held) for language in pairs}
    assert counts == {"sw": 5, "de": 20, "fr": 20, "ja": 20}  # a tenth of sw, the others alike
    marks = [fingerprint(text) for pair in held for text in (pair.english, pair.other)]
    assert len(set(marks)) == 130
    for language, pool in kept.items():
        assert {pair.language for pair in pool} == {language}
        for pair in pool:
            assert fingerprint(pair.english) not in marks
            assert fingerprint(pair.other) not in marks
        # Only what shares a text with a held-out pair went.
        went = [pair for pair in pairs[language] if pair not in pool]
        assert all({fingerprint(p.english), fingerprint(p.other)} & set(marks) for p in went)
        assert len(pool) + len(went) == len(pairs[language])


def test_the_choice_knows_no_order() -> None:
    pairs = {language: _pairs(language, 100) for language in ("de", "fr")}
    shuffled = {
        language: random.Random(0).sample(pairs[language], 100) for language in ("fr", "de")
    }
    held, again = hold_out(pairs, 20)[1], hold_out(shuffled, 20)[1]
    assert held == again


def test_more_than_the_corpora_can_spare_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"30 pairs .* the corpora can spare 20"):
        hold_out({"de": _pairs("de", 100), "fr": _pairs("fr", 100)}, 30)


vectors = arrays(np.float32, (6, 3), elements=st.integers(-2, 2).map(float))


@settings(deadline=None)
@given(left=vectors, right=vectors)
def test_accuracy_is_that_of_a_search_by_hand(left: np.ndarray, right: np.ndarray) -> None:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))

    left, right = left + 0.5, right + 0.5  # no zero vectors
    hits = 0
    near_tie = False
    for here, there in ((left, right), (right, left)):
        for i in range(6):
            others = [cosine(here[i], there[k]) for k in range(6) if k != i]
            margin = cosine(here[i], there[i]) - max(others)
            near_tie |= abs(margin) < 1e-5
            hits += margin > 0
    if not near_tie:
        accuracy = retrieval_accuracy(torch.tensor(left), torch.tensor(right))
        assert accuracy == pytest.approx(hits / 12)


def test_a_tie_is_a_miss() -> None:
    assert retrieval_accuracy(torch.ones(4, 2), torch.ones(4, 2)) == 0
    assert retrieval_accuracy(torch.eye(4), torch.eye(4)) == 1


def test_every_prefix_is_measured_by_its_own_dimensions() -> None:
    left = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.1, 5.0]])
    right = torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 5.0]])
    found = measure(left, right, lambda a, b: (a - b).square().sum(), [2])
    assert found["validation_loss"] == pytest.approx(0.02)
    assert found["validation_accuracy"] == 1
    assert found["validation_accuracy_2"] == 0
