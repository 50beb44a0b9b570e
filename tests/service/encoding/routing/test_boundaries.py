"""Where a second sentence starts, and whether a text closes with a mark."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.encoding.routing.boundaries import (
    ends_sentence,
    second_sentence_start,
    with_plain_marks,
)
from tests.service.encoding.routing.examples import (
    MARKED_SENTENCES,
    NAMES_IN_SCRIPTS,
    NAMES_WITH_STOPS,
    PLAINLY_MARKED_SENTENCES,
    QUOTED_SENTENCES,
    TECHNICAL_NAMES,
    UNMARKED_SENTENCES,
)


@pytest.mark.parametrize(
    "text",
    [
        *MARKED_SENTENCES,
        *QUOTED_SENTENCES,
        *UNMARKED_SENTENCES,
        *TECHNICAL_NAMES,
        *NAMES_IN_SCRIPTS,
        *(name for name in NAMES_WITH_STOPS if name != "Yahoo! Japan"),
    ],
)
def test_one_sentence_or_name_has_no_second(text: str) -> None:
    assert second_sentence_start(with_plain_marks(text)) == -1


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("I came. I saw.", "I saw."),
        ('"Hi." "Hello."', 'Hello."'),
        ("¡Hola! ¿cómo estás?", "cómo estás?"),
        ("Er ging. Am 3. Mai kam er.", "Am 3. Mai kam er."),
        ("你好。我很好。", "我很好。"),
        ("나는 가. 그는 와.", "그는 와."),
        ("मैं आया | वह गया |", "वह गया।"),
        ("One. Two. Three.", "Two. Three."),
    ],
)
def test_the_second_sentence_starts_at_its_first_word(text: str, second: str) -> None:
    text = with_plain_marks(text)
    assert text[second_sentence_start(text) :] == second


@given(st.sampled_from(PLAINLY_MARKED_SENTENCES), st.sampled_from(PLAINLY_MARKED_SENTENCES))
def test_of_two_sentences_joined_the_second_is_found_where_it_starts(one: str, other: str) -> None:
    text = with_plain_marks(f"{one} {other}")
    second = re.sub(r"^\W+", "", with_plain_marks(other))
    assert text[second_sentence_start(text) :] == second


@pytest.mark.parametrize("text", PLAINLY_MARKED_SENTENCES)
def test_a_marked_sentence_ends_in_its_mark(text: str) -> None:
    assert ends_sentence(with_plain_marks(text))


@pytest.mark.parametrize(
    "text",
    [
        *UNMARKED_SENTENCES,
        "Save as...",
        "Somewhere...",
        "Save as…",
        "Washington, D.C.",
        "in the U.S.",
        "C++",
        "?!a",
    ],
)
def test_a_text_without_a_mark_at_its_end_does_not(text: str) -> None:
    assert not ends_sentence(with_plain_marks(text))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Πού πας; Πάω σπίτι.", "Πού πας? Πάω σπίτι."),
        ("one; two | three: four", "one; two | three: four"),
        ("मैं आया | वह", "मैं आया। वह"),
        ("Ես եկա: Դու", "Ես եկա։ Դու"),
        ("Նա:նա, 12:30", "Նա:նա, 12:30"),
    ],
)
def test_marks_of_one_script_only_are_made_plain_there(text: str, plain: str) -> None:
    assert with_plain_marks(text) == plain
