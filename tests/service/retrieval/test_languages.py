"""Languages are told, or said not to be known."""

from __future__ import annotations

from service.retrieval.languages import detect

OURS = ("en", "de", "fr", "sv", "zh-Hant")


def test_clear_texts_are_told_whatever_the_bundle_reads() -> None:
    texts = [
        "Kur yra artimiausia biblioteka šiame mieste, ar žinai?",
        "Où est la gare, s'il vous plaît ?",
    ]
    lithuanian, french = detect(texts, OURS)
    assert lithuanian == "lt"
    assert french == "fr"


def test_an_unclear_text_is_in_a_likely_language_or_undetermined() -> None:
    told = detect(["123", "??", "Paris", "Wo ist der Hund?"], OURS)
    assert set(told) <= {*OURS, "zh", "und"}
    assert told[3] == "de"
    assert detect(["123"], ()) == ["und"]
