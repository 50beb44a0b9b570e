"""Full stops end a sentence, or only the word before them."""

from __future__ import annotations

import pytest

from service.encoding.routing.full_stops import is_final_abbreviation, stop_divides


@pytest.mark.parametrize(
    ("text", "divides"),
    [
        ("I came| Then he left.", True),
        ("I came| then he left.", False),
        ("i came| then he left.", True),
        # A title wants its name; a company's form or a country's may close a sentence.
        ("Dr| He left.", False),
        ("Ask Acme Inc| He left.", True),
        ("Ask Acme Inc| Tokyo left.", False),
        ("in the U.S| He left.", True),
        ("J| He left.", False),
        ("See no| 5 of them.", False),
        # Ordinals, years and items.
        ("am 3| Mai", False),
        ("in 1990| Then we moved.", True),
        ("in 1990| 12 came.", False),
        ("1| Open the lid", False),
        ("room 12| Then left", True),
        # Quotes and brackets belong to no word.
        ("(etc| Tokyo", False),
        ("| Then", False),
    ],
)
def test_a_stop_divides_where_a_new_sentence_can_start(text: str, divides: bool) -> None:
    stop = text.index("|")
    assert stop_divides(text.replace("|", "."), stop, stop + 2) is divides


@pytest.mark.parametrize(
    ("text", "is_abbreviation"),
    [
        ("He left.", False),
        ("in the U.S.", True),
        ("Acme Inc.", True),
        ("Martin Luther King Jr.", True),
        ("Dr.", True),
        ("Call the prof.", False),
        ("vitamin C.", True),
        ("他是A国.", False),
        # One letter of a script without capitals is a word.
        ("나는 가.", False),
    ],
)
def test_a_final_stop_may_be_an_abbreviations(text: str, is_abbreviation: bool) -> None:
    assert is_final_abbreviation(text, len(text) - 1) is is_abbreviation
