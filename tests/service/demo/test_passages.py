"""The demonstration's text: whole, in its languages, and small."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

from models.bundle import DEFAULT_BUNDLE, Bundle
from service.demo import PASSAGES, passages
from service.encoding.granularity import route

SUBJECTS = 12
LANGUAGES = {"ar", "de", "en", "es", "fr", "hi", "ja", "ko", "ru", "sw", "tr", "zh"}
_SCRIPTS = {
    "ar": "ARABIC",
    "hi": "DEVANAGARI",
    "ja": "HIRAGANA",
    "ko": "HANGUL",
    "ru": "CYRILLIC",
    "zh": "CJK",
}


def test_each_subject_is_there_in_each_language() -> None:
    by_subject = Counter(passage["metadata"]["topic"] for passage in passages())
    assert set(by_subject.values()) == {len(LANGUAGES)}
    assert len(by_subject) == SUBJECTS
    assert {passage["language"] for passage in passages()} == LANGUAGES
    for passage in passages():
        assert passage["id"] == f"{passage['metadata']['topic']}-{passage['language']}"
        assert set(passage) == {"id", "text", "language", "metadata"}


def test_the_shipped_bundle_knows_the_languages() -> None:
    assert set(Bundle.open(DEFAULT_BUNDLE).manifest.languages) >= LANGUAGES


def test_each_text_is_a_clean_paragraph_in_its_script() -> None:
    texts = [passage["text"] for passage in passages()]
    assert len(set(texts)) == len(texts)
    for passage in passages():
        text, script = passage["text"], _SCRIPTS.get(passage["language"], "LATIN")
        assert text == unicodedata.normalize("NFC", text).strip()
        assert route(text) == "paragraph"
        letters = [unicodedata.name(c).split()[0] for c in text if unicodedata.category(c) == "Lo"]
        letters = letters or [unicodedata.name(c).split()[0] for c in text if c.isalpha()]
        assert script in letters


def test_it_is_small_and_its_licence_lies_beside_it() -> None:
    assert PASSAGES.stat().st_size < 300_000
    licence = (Path(PASSAGES).parent / "LICENCE.md").read_text(encoding="utf-8")
    count = re.search(r"holds (\d+) short passages", licence)
    assert count is not None
    assert int(count[1]) == len(passages())
    assert "CC0" in licence
