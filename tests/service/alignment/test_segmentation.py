from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alignment.segmentation import sentence_spans, word_spans


def _sentences(text: str, language: str | None = None) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text, language)]


def _words(text: str, language: str | None = None) -> list[str]:
    return [text[start:end] for start, end in word_spans(text, language)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Smith came. He sat!", "en", ["Mr. Smith came.", "He sat!"]),
        ("Mr. Smith came. He sat!", None, ["Mr.", "Smith came.", "He sat!"]),
        ("Es kostet 3.5 kg. Gut.", "de", ["Es kostet 3.5 kg.", "Gut."]),
        ("A title\n\nA text. ", None, ["A title", "A text."]),
        ("彼は行った。「はい。」と言った。", "ja", ["彼は行った。", "「はい。」", "と言った。"]),
        ("我喜欢吃苹果。他去了北京大学！", "zh", ["我喜欢吃苹果。", "他去了北京大学！"]),
        ("वह गया। वह आया।", "hi", ["वह गया।", "वह आया।"]),
        ("وصل الرجل. هل نام؟", "ar", ["وصل الرجل.", "هل نام؟"]),
        ("Ελληνικά; Ναι.", "el", ["Ελληνικά;", "Ναι."]),
        (
            "ผมชอบกินข้าวผัดมาก เมื่อวานนี้เขาไปตลาดกับแม่",
            "th",
            ["ผมชอบกินข้าวผัดมาก เมื่อวานนี้เขาไปตลาดกับแม่"],
        ),
        (
            "ผมชอบกินข้าวผัดมากที่สุดเลย เมื่อวานนี้เขาไปตลาดกับแม่",
            "th",
            ["ผมชอบกินข้าวผัดมากที่สุดเลย", "เมื่อวานนี้เขาไปตลาดกับแม่"],
        ),
        ("😀 Hi there. 😀 Bye now!", "en", ["😀 Hi there.", "😀 Bye now!"]),
        ("«Привет.» Он ушёл.", "ru", ["«Привет.»", "Он ушёл."]),
        (" \n\t ", None, []),
    ],
)
def test_sentences(text: str, language: str | None, expected: list[str]) -> None:
    assert _sentences(text, language) == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Don't pay 3.5 €, Bob!", "en", ["Don't", "pay", "3.5", "Bob"]),
        ("แมวนั่งบนเสื่อ", "th", ["แมว", "นั่ง", "บน", "เสื่อ"]),
        ("東京都に行きました。", "ja", ["東京", "都", "に", "行き", "ま", "した"]),
        ("我喜欢吃苹果。", None, ["我", "喜欢", "吃", "苹果"]),
        ("😀 ok 😀 yes", None, ["ok", "yes"]),
        ("…", None, []),
    ],
)
def test_words(text: str, language: str | None, expected: list[str]) -> None:
    assert _words(text, language) == expected


languages = st.sampled_from([None, "en", "zh-Hant", "sr_Latn", "qqq"])


@settings(deadline=None)  # the first run loads ICU
@given(st.text(), languages)
def test_nothing_but_white_space_is_lost_between_sentences(text: str, language: str | None) -> None:
    spans = sentence_spans(text, language)
    kept = [False] * len(text)
    for start, end in spans:
        assert text[start:end].strip() == text[start:end] != ""
        kept[start:end] = [True] * (end - start)
    assert [s for s, _ in spans] == sorted(s for s, _ in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert not "".join(c for c, k in zip(text, kept, strict=True) if not k).strip()


@settings(deadline=None)
@given(st.text(), languages)
def test_words_are_in_order_and_every_letter_is_in_one(text: str, language: str | None) -> None:
    spans = word_spans(text, language)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    inside = {place for start, end in spans for place in range(start, end)}
    for place, character in enumerate(text):
        if character.isascii() and character.isalnum():
            assert place in inside


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"Sentence {number}. " * 200 for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda text: len(sentence_spans(text)), texts))
    assert counts == [200] * 64
