"""Each script's characters fall into its group, by Unicode's names of them."""

from __future__ import annotations

import unicodedata

import pytest

from service.encoding.routing.scripts import Script, is_small, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain", Script.ALPHABET),
        ("Привет", Script.ALPHABET),
        ("قلم", Script.SEMITIC),
        ("தமிழ்", Script.INDIC),
        ("한국어", Script.HANGUL),
        ("漢字とかな", Script.KANA),
        ("漢字", Script.HAN),
        ("ไทย", Script.SOUTHEAST),
        ("Python 是一种语言", Script.HAN),
        ("The character 漢 is quoted in this text", Script.ALPHABET),
    ],
)
def test_the_script_of_most_of_the_text_counts(text: str, script: Script) -> None:
    assert script_of(text) is script


# Some extensions, Ethiopic's and Burmese's among them, are not known to the router.
MAIN_BLOCKS = [*range(0x2000), *range(0x3000, 0xA000), *range(0xAC00, 0xD7A4)]
NAME_STARTS = {
    Script.ALPHABET: ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN"),
    Script.SEMITIC: ("ARABIC", "HEBREW", "SYRIAC", "THAANA", "NKO", "ETHIOPIC"),
    Script.INDIC: ("DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "TAMIL", "TELUGU", "SINHALA"),
    Script.HANGUL: ("HANGUL SYLLABLE",),
    Script.KANA: ("HIRAGANA LETTER", "KATAKANA LETTER"),
    Script.HAN: ("CJK UNIFIED IDEOGRAPH",),
    Script.SOUTHEAST: ("THAI", "LAO", "KHMER", "MYANMAR"),
}


@pytest.mark.parametrize("script", Script)
def test_letters_are_of_the_script_that_unicode_names(script: Script) -> None:
    letters = [
        letter
        for letter in map(chr, MAIN_BLOCKS)
        if letter.isalpha() and unicodedata.name(letter, "").startswith(NAME_STARTS[script])
    ]
    assert len(letters) > 100
    assert [letter for letter in letters if script_of(letter) is not script] == []


def test_georgian_starts_no_sentence_with_a_capital() -> None:
    assert is_small("a")
    assert is_small("я")
    assert not is_small("A")
    assert not is_small("მ")
