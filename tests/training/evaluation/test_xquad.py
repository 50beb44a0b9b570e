"""Search across languages on tiny XQuADs, and which answers are names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.tiny_training import write_xz
from tests.training.evaluation.eval_sets import (
    XQUAD_LANGUAGES,
    Vectorizer,
    number_of,
    write_xquad,
)
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.tasks import xquad
from training.evaluation.tasks.names import is_name_of_one

ALL = Languages(None)


def test_a_question_is_searched_in_every_other_language_alone(tmp_path: Path) -> None:
    write_xquad(tmp_path)

    def vector(text: str) -> list[float]:
        # German questions lie 0.6 of the way to the next paragraph.
        angle = (number_of(text) + 0.6 * text.startswith("de what")) * math.pi / 40
        return [math.cos(angle), math.sin(angle)]

    scored = xquad.QUESTIONS.load(tmp_path, ALL).score(Vectorizer(vector))
    pairs = [f"{a}→{b}" for a in XQUAD_LANGUAGES for b in XQUAD_LANGUAGES if a != b]
    assert list(scored.by_pair) == pairs
    assert scored.by_pair["ru→de"]["ndcg_at_10"] == pytest.approx(100)
    # So the right paragraph comes second, but for the last, which has no next one.
    ndcg = (11 / math.log2(3) + 1) / 12
    for other in ("en", "ru"):
        assert scored.by_pair[f"de→{other}"]["ndcg_at_10"] == pytest.approx(100 * ndcg)
        assert scored.by_pair[f"de→{other}"]["map"] == pytest.approx(100 * (11 / 2 + 1) / 12)
    assert scored.by_language["de"]["ndcg_at_10"] == pytest.approx(100 * ndcg)


def test_paragraphs_that_are_not_in_every_language_are_an_error(tmp_path: Path) -> None:
    rows = [("id", "lang", "text"), ("p0", "en", "a 0"), ("p1", "en", "b 1"), ("p0", "de", "c 0")]
    write_xz(tmp_path / xquad.PARAGRAPHS_FILE, rows)
    with pytest.raises(TrainingError, match="1 paragraphs are not in both de and en"):
        xquad.ALIGNED.load(tmp_path, ALL)
    answers = [xquad.ANSWERS_COLUMNS, ("q", "en", "p7", "what 0?", "A", "0")]
    write_xz(tmp_path / xquad.PARAGRAPHS_FILE, rows[:3])
    write_xz(tmp_path / xquad.ANSWERS_FILE, answers)
    with pytest.raises(TrainingError, match="names the en paragraph p7"):
        xquad.QUESTIONS.load(tmp_path, ALL)


POOL = ("The Rhine and Luke Kuechly.", "the rhine flows. Oxygen burns", "It ended in May 1990.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Luke Kuechly.", True),
        ("luke Kuechly", True),
        ("Rhine", False),  # in two
        ("Kuech", False),  # no whole word
        ("Oxygen", True),
        ("oxygen", False),  # no capital
        ("May 1990", False),  # a date
        ("Thames", False),  # in none
        ("The Rhine and Luke Kuechly", True),
        ("the rhine flows. Oxygen burns", True),
        ("and Luke Kuechly. the rhine flows", False),
        ("...", False),
        ("", False),
    ],
)
def test_which_answers_are_names_of_one_paragraph(answer: str, expected: bool) -> None:
    assert is_name_of_one(answer, POOL) == expected


def test_a_name_of_six_words_is_too_long() -> None:
    assert is_name_of_one("A b c d e", ["a b c d e f"])
    assert not is_name_of_one("A b c d e f", ["a b c d e f"])


def test_names_are_chosen_by_their_english_and_asked_for_once(tmp_path: Path) -> None:
    write_xz(
        tmp_path / xquad.PARAGRAPHS_FILE,
        [
            ("id", "lang", "text"),
            ("p0", "en", "Warsaw is here"),
            ("p1", "en", "nothing"),
            ("p0", "de", "Warschau"),
            ("p1", "de", "nichts"),
        ],
    )
    rows: list[tuple[str, ...]] = [xquad.ANSWERS_COLUMNS]
    for id_, answers in {"a": ("Warsaw", "Warschau"), "b": ("Warsaw", "Warschau")}.items():
        rows += [
            (id_, language, "p0", "?", answer, "0")
            for language, answer in zip(("en", "de"), answers, strict=True)
        ]
    rows += [("c", "en", "p1", "?", "nothing", "0"), ("c", "de", "p1", "?", "Nichts", "0")]
    write_xz(tmp_path / xquad.ANSWERS_FILE, rows)
    found = xquad.load_phrases(tmp_path, ALL)
    assert found.queries == {"de": [("Warschau", "p0")], "en": [("Warsaw", "p0")]}
    # English decides even where its own row is asked for by nobody.
    german = xquad.load_phrases(tmp_path, Languages.parse(["de"]))
    assert german.queries["de"] == [("Warschau", "p0")]
