"""The router: the classes of DESIGN.md, in every script, by examples and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import TEXT_GRANULARITIES, Granularity
from service.encoding.granularity import route
from service.encoding.routing.scripts import MAX_SENTENCE_CHARACTERS, Script
from service.errors import InvalidInput
from tests.service.encoding.routing.examples import (
    MARKED_SENTENCES,
    NAMES_IN_SCRIPTS,
    NAMES_WITH_STOPS,
    PLAINLY_MARKED_SENTENCES,
    QUOTED_SENTENCES,
    SENTENCES_WITH_EMOJI,
    SEVERAL_SENTENCES,
    TECHNICAL_NAMES,
    TITLES,
    UNMARKED_SENTENCES,
)


@pytest.mark.parametrize("text", [*NAMES_WITH_STOPS, *TECHNICAL_NAMES, *TITLES, *NAMES_IN_SCRIPTS])
def test_a_name_or_term_is_a_phrase(text: str) -> None:
    assert route(text) is Granularity.PHRASE


@pytest.mark.parametrize(
    "text",
    [*MARKED_SENTENCES, *QUOTED_SENTENCES, *UNMARKED_SENTENCES, *SENTENCES_WITH_EMOJI],
)
def test_one_sentence_is_a_sentence(text: str) -> None:
    assert route(text) is Granularity.SENTENCE


@pytest.mark.parametrize("text", SEVERAL_SENTENCES)
def test_more_than_one_sentence_is_a_paragraph(text: str) -> None:
    assert route(text) is Granularity.PARAGRAPH


@pytest.mark.parametrize(
    "text",
    [
        "- apples\n- pears",
        "• Äpfel\r\n• Birnen",
        "1. Open the lid\n2. Pour water\n3. Wait",
        "milk\neggs\nbread",
        "A heading\n\nThe text below it",
    ],
)
def test_lists_and_blocks_of_lines_are_paragraphs(text: str) -> None:
    assert route(text) is Granularity.PARAGRAPH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This sentence was wrapped at a\nnarrow margin.", Granularity.SENTENCE),
        ("Universal Declaration\nof Human Rights", Granularity.PHRASE),
        ("they\nknow", Granularity.SENTENCE),
        (
            "This is one sentence that somebody has set in lines of some sixty\n"
            "characters each, as mail programs used to do with all that they\n"
            "sent, and it has a single full stop.",
            Granularity.SENTENCE,
        ),
    ],
)
def test_a_wrapped_text_is_judged_as_one_line(text: str, expected: Granularity) -> None:
    assert route(text) is expected


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000\u2003"])
def test_an_empty_text_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(InvalidInput, match="empty or white space only; give at least one") as error:
        route(text)
    assert error.value.status == 422


LETTERS = {
    Script.ALPHABET: "a",
    Script.SEMITIC: "ب",
    Script.INDIC: "क",
    Script.HANGUL: "가",
    Script.KANA: "あ",
    Script.HAN: "国",
    Script.SOUTHEAST: "ก",
}


@pytest.mark.parametrize("script", Script)
def test_a_text_too_long_for_the_sentence_adapter_is_a_paragraph(script: Script) -> None:
    limit = MAX_SENTENCE_CHARACTERS[script]
    # One unbroken word of the script: nothing but its length can make it a paragraph.
    assert route(LETTERS[script] * limit) is not Granularity.PARAGRAPH
    assert route(LETTERS[script] * (limit + 1)) is Granularity.PARAGRAPH


visible = st.text(min_size=1).filter(lambda text: bool(text.strip()))


@given(visible)
def test_every_visible_text_has_a_text_granularity(text: str) -> None:
    assert route(text) in TEXT_GRANULARITIES


@given(st.text("ab .!?…;:|\"'«»()[]。「」।\n\t1A-•\ud800\x00", min_size=1).filter(str.strip))
def test_marks_in_any_order_are_taken(text: str) -> None:
    assert route(text) in TEXT_GRANULARITIES


@given(visible, st.text(" \t\n\u3000"), st.text(" \t\n\u3000"))
def test_white_space_around_a_text_says_nothing(text: str, before: str, after: str) -> None:
    assert route(before + text + after) is route(text)


@given(st.lists(st.sampled_from(PLAINLY_MARKED_SENTENCES), min_size=2, max_size=4))
def test_sentences_of_any_scripts_joined_by_a_space_are_a_paragraph(sentences: list[str]) -> None:
    assert route(" ".join(sentences)) is Granularity.PARAGRAPH


@given(st.sampled_from(MARKED_SENTENCES), st.sampled_from(['"{}"', "“{}”", "«{}»", "({})"]))
def test_quotes_around_a_sentence_change_nothing(sentence: str, quotes: str) -> None:
    assert route(quotes.format(sentence)) is Granularity.SENTENCE
