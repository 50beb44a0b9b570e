from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.romanisation import is_romanised, romanise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Москва — столица России", "Moskva - stolitsa Rossii"),
        ("Größe über Straße", "Grosse uber Strasse"),
        ("我们去。你好", "wo men qu. ni hao"),
        ("안녕하세요 세계", "annyeonghaseyo segye"),
        ("ひらがな カタカナ", "hiragana katakana"),
        ("ไทย โลก", "thaiy lok"),
        ("שלום", "slvm"),
        ("محمد", "mhmd"),
        # The a that Indian scripts do not write, silent at the end of a word in the north.
        ("कल दिल्ली नमस्ते", "kal dilli namaste"),
        ("বাংলা", "bamla"),
        ("தமிழ் அம்மா", "tamil amma"),
        ("తెలుగు", "telugu"),
        ("ಕನ್ನಡ", "kannada"),
        ("മലയാളം", "malayalam"),
        ("සිංහල", "simhala"),
        ("Ελλάδα", "Ellada"),
        ("საქართველო", "sakartvelo"),
        ("\ue000", ""),
    ],
)
def test_readings_known_from_elsewhere(text: str, expected: str) -> None:
    assert romanise(text) == expected


@given(text=st.text())
def test_the_result_is_ascii_stays_as_it_is_and_knows_one_normal_form(text: str) -> None:
    once = romanise(text)
    assert once.isascii()
    assert once == " ".join(once.split()) == romanise(once)
    assert romanise(unicodedata.normalize("NFD", text)) == once


def test_latin_text_needs_no_romanisation() -> None:
    assert is_romanised("Größe 3!")
    assert is_romanised("12 + 3")
    assert not is_romanised("Größe и")
    assert not is_romanised("你好")
