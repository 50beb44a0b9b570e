"""Phrase or sentence, one sentence or several, where no mark tells."""

from __future__ import annotations

import pytest

from service.encoding.routing.markless import (
    is_sentence_without_mark,
    is_several_without_mark,
    sentence_features,
    several_features,
)
from service.encoding.routing.scripts import Script, script_of
from service.encoding.routing.weights import SENTENCE_WEIGHTS, SEVERAL_WEIGHTS
from tests.service.encoding.routing.examples import (
    MARKED_SENTENCES,
    NAMES_IN_SCRIPTS,
    TITLES,
    UNMARKED_SENTENCES,
)


@pytest.mark.parametrize(
    ("text", "script", "shown"),
    [
        (
            "Red, green: 2 boxes",
            Script.ALPHABET,
            {"words<=4", "cues=0", "comma", "digit", "bracket, colon or slash"},
        ),
        ("New York", Script.ALPHABET, {"words<=2", "cues=0", "title case"}),
        ("they know that I know", Script.ALPHABET, {"words<=5", "cues>4"}),
        ("한국어를 배웠다", Script.HANGUL, {"words<=2", "cues=0", "ending"}),
        ("彼は来た", Script.KANA, {"characters<=5", "cues=2", "ending"}),
        ("ภาษาไทย", Script.SOUTHEAST, {"characters<=10", "cues=0", "noun"}),
    ],
)
def test_a_text_without_a_mark_is_judged_by_what_it_shows(
    text: str, script: Script, shown: set[str]
) -> None:
    assert set(sentence_features(text, script)) == shown


@pytest.mark.parametrize("text", UNMARKED_SENTENCES)
def test_a_sentence_needs_no_mark(text: str) -> None:
    assert is_sentence_without_mark(text, script_of(text))


@pytest.mark.parametrize("text", [*TITLES, *NAMES_IN_SCRIPTS])
def test_a_name_is_no_sentence(text: str) -> None:
    assert not is_sentence_without_mark(text, script_of(text))


ONE_CLAUSE = "ฉันอยู่ที่นี่มาตั้งแต่ปี 2556"
THREE_CLAUSES = "ฉันไปตลาดเมื่อวานนี้ ฉันซื้อผลไม้มาหลายอย่าง เขาไม่ได้ไปกับฉัน"


def test_pauses_tell_several_sentences_of_thai_from_one() -> None:
    assert not is_several_without_mark(ONE_CLAUSE)
    assert is_several_without_mark(THREE_CLAUSES)


def test_only_thai_and_lao_are_asked_for_pauses() -> None:
    # Of a length at which Thai is called several without any pause.
    assert is_several_without_mark("ก" * 95)
    assert not is_several_without_mark("ខ្ញុំ" * 19)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ONE_CLAUSE, {"characters<=40", "pauses<=0", "starts=0"}),
        (THREE_CLAUSES, {"characters<=80", "pauses<=2", "starts=2"}),
        ("กินแล้ว ไป", {"characters<=40", "pauses<=1", "starts=0", "particle before a space"}),
    ],
)
def test_thai_is_judged_by_its_length_and_pauses(text: str, shown: set[str]) -> None:
    assert set(several_features(text)) == shown


def test_every_feature_shown_has_a_weight() -> None:
    """A feature whose name the table lacks would count for nothing, unseen."""
    for text in [*MARKED_SENTENCES, *UNMARKED_SENTENCES, *NAMES_IN_SCRIPTS]:
        script = script_of(text)
        assert set(sentence_features(text, script)) <= SENTENCE_WEIGHTS[script].keys()
    for text in (ONE_CLAUSE, THREE_CLAUSES):
        assert set(several_features(text)) <= SEVERAL_WEIGHTS.keys()
