from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpora.scripts import ScriptGroup, profile, scripts_of


@given(st.text())
def test_letters_are_those_of_unicode(text: str) -> None:
    found = profile(text)
    assert found.characters == len(text)
    letters = [character for character in text if unicodedata.category(character)[0] == "L"]
    marks = [character for character in text if unicodedata.category(character)[0] == "M"]
    named = [
        character
        for character in letters
        if ord(character) < 0x30000 and not unicodedata.name(character, "").startswith("MODIFIER")
    ]
    assert len(named) <= found.letter_count <= len(letters) + len(marks)


@given(st.text(), st.text())
def test_a_profile_of_two_texts_together_is_the_sum_of_theirs(a: str, b: str) -> None:
    both = profile(a + b)
    assert both.letter_count == profile(a).letter_count + profile(b).letter_count
    assert both.weight == pytest.approx(profile(a).weight + profile(b).weight)


@pytest.mark.parametrize(
    ("text", "letters", "group", "weight"),
    [
        ("Ｈａｕｓ 1", {"LATIN": 4}, ScriptGroup.ALPHABETIC, 6),
        ("дом", {"CYRILLIC": 3}, ScriptGroup.ALPHABETIC, 3),
        ("家々", {"CJK": 2}, ScriptGroup.IDEOGRAPHIC, 5),
        ("コーヒー", {"KATAKANA": 4}, ScriptGroup.IDEOGRAPHIC, 10),
        ("집이 커", {"HANGUL": 3}, ScriptGroup.HANGUL, 7),
        ("𠀋a", {"CJK": 1, "LATIN": 1}, ScriptGroup.ALPHABETIC, 3.5),
        ("บ้าน", {"THAI": 4}, ScriptGroup.ALPHABETIC, 4),
        ("12 !?", {}, ScriptGroup.ALPHABETIC, 5),
    ],
)
def test_profiles_of_known_texts(
    text: str, letters: dict[str, int], group: ScriptGroup, weight: float
) -> None:
    found = profile(text)
    assert (dict(found.letters), found.group, found.weight) == (letters, group, weight)


@pytest.mark.parametrize(
    ("language", "scripts"),
    [
        ("fr", {"LATIN"}),
        ("pt-PT", {"LATIN"}),
        ("sr-Latn", {"LATIN"}),
        ("bjn_Arab", {"ARABIC"}),
        ("zh-Hant", {"CJK", "BOPOMOFO"}),
        ("ja", {"HIRAGANA", "KATAKANA", "CJK"}),
        ("xyz", None),
        ("ru-Qaaa", None),  # in a script that the tables do not name
    ],
)
def test_scripts_of_languages(language: str, scripts: set[str] | None) -> None:
    assert scripts_of(language) == scripts
