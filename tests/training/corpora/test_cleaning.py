from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training.corpora.cleaning import EntityCleaner, Reason, normalise, row_fault
from training.corpora.overlap import fingerprints
from training.corpora.rows import Row

GERMAN = "Die alte Brücke über den Fluss wurde im letzten Sommer neu gebaut."
FRENCH = "Le vieux pont sur la rivière a été reconstruit l'été dernier."
ENGLISH = "The old bridge over the river was rebuilt last summer."


@given(st.text())
@example("Cafe\u0301\u00a0 \t1")
def test_normalised_text_is_nfc_with_single_spaces(text: str) -> None:
    clean = normalise(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert clean.split() == clean.split(" ") or clean == ""
    assert normalise(clean) == clean
    # Nothing but white space and composition changed.
    canonical = unicodedata.normalize("NFD", "".join(clean.split()))
    assert canonical == unicodedata.normalize("NFD", "".join(text.split()))


@pytest.mark.parametrize(
    ("granularity", "language", "text", "reason"),
    [
        ("sentence", "de", GERMAN, None),
        ("sentence", "fr", GERMAN, Reason.LANGUAGE),
        ("phrase", "fr", GERMAN, None),  # phrases are never identified
        ("sentence", "fr", "Das ist nicht gut", None),  # too short to be believed
        ("sentence", "nb", "Den gamle broen over elven ble bygget om i fjor sommer.", None),
        ("sentence", "da", "Den gamle broen over elven ble bygget om i fjor sommer.", None),
        ("sentence", "tlh", GERMAN, None),  # a language that the identifier does not know
        ("phrase", "de", "", Reason.NO_LETTERS),
        ("phrase", "de", "12 — 34!", Reason.NO_LETTERS),
        ("phrase", "de", "Ha\x00us", Reason.CONTROL),
        ("phrase", "de", "Ha\ue000us", Reason.CONTROL),
        ("phrase", "de", "Ha\ufffdus", Reason.CONTROL),
        ("phrase", "fa", "می\u200cخواهم", None),  # a joiner is no control character
        ("phrase", "de", "a" * 120, None),
        ("phrase", "de", "a" * 121, Reason.LENGTH),
        ("phrase", "zh", "家" * 50, None),
        ("phrase", "zh", "家" * 51, Reason.LENGTH),
        ("paragraph", "zxx", "a" * 24, Reason.LENGTH),
        ("paragraph", "zxx", "a" * 25, None),
        # The identifier is sure of Bulgarian, Ligurian and Egyptian: an old spelling, a dialect,
        # another script than the one it learned the language in.
        ("sentence", "ru", "Вспомни рабовъ Твоихъ Авраама, Исаака и Іакова", None),
        ("sentence", "oc", "Chatün tê le dreit de criâ deù sendïcâ bei deù z-autrei", None),
        ("sentence", "ace_Arab", "ننيکاه نيان مىجالان سامڤى ماتى جيه", None),
        ("sentence", "oc", "Le navigateur gratuit pour votre ordinateur.", Reason.LANGUAGE),
        ("sentence", "sl", "Majú prekrásnu záhradu pri dome.", Reason.LANGUAGE),  # Slovak
        ("sentence", "zxx", "hm", Reason.LENGTH),
        ("phrase", "ru", "GitHub", None),  # names keep their letters
        ("phrase", "ru", "Σπίτι", Reason.SCRIPT),
        ("phrase", "fr", "дом", Reason.SCRIPT),
        ("sentence", "ru", "Use GitHub", Reason.SCRIPT),
        ("sentence", "ja", "Node.js を使う", None),
        ("sentence", "sr-Latn", "Стари мост", Reason.SCRIPT),
    ],
)
def test_the_fault_of_a_row(
    granularity: str, language: str, text: str, reason: Reason | None
) -> None:
    assert row_fault(granularity, language, text, frozenset()) is reason


def test_evaluation_text_is_known_before_any_other_fault() -> None:
    banned = fingerprints(["Held out, 7"])
    assert row_fault("paragraph", "ru", "HELD  out 7!", banned) is Reason.EVALUATION
    assert row_fault("paragraph", "ru", "held out", banned) is Reason.LENGTH


def _row(language: str, text: str, granularity: str = "sentence", id_: str = "1") -> Row:
    return Row(id_, "s", "CC0", granularity, language, text)


def _clean(*rows: Row, cleaner: EntityCleaner | None = None) -> tuple[list[str], dict[str, Reason]]:
    kept, dropped = (cleaner or EntityCleaner()).clean(rows, [False] * len(rows))
    return [row.text for row in kept], {row.text: reason for row, reason in dropped}


def test_translations_stand_behind_their_english_by_granularity() -> None:
    kept, dropped = _clean(
        _row("fr", FRENCH),
        _row("de", "Brücke", "phrase"),
        _row("en", "bridge", "phrase"),
        _row("de", GERMAN),
        _row("en", ENGLISH),
    )
    assert kept == ["bridge", "Brücke", ENGLISH, GERMAN, FRENCH]
    assert dropped == {}


def test_untranslated_and_ill_matched_sentences_go_but_names_stay() -> None:
    kept, dropped = _clean(
        _row("en", ENGLISH),
        _row("de", GERMAN),
        _row("fr", ENGLISH.upper() + "!"),
        _row("es", "Puente."),
        _row("zh", "去年夏天，河上的旧桥重新修建了。"),
    )
    assert kept == [ENGLISH, GERMAN, "去年夏天，河上的旧桥重新修建了。"]
    assert dropped == {ENGLISH.upper() + "!": Reason.UNTRANSLATED, "Puente.": Reason.RATIO}
    names, _ = _clean(_row("en", "GitHub", "phrase"), _row("de", "GitHub", "phrase"))
    assert names == ["GitHub", "GitHub"]


def test_a_pair_is_a_duplicate_under_any_id_and_its_anchor_goes_with_it() -> None:
    cleaner = EntityCleaner()
    first = (_row("en", ENGLISH), _row("de", GERMAN))
    assert _clean(*first, cleaner=cleaner)[0] == [ENGLISH, GERMAN]
    kept, dropped = _clean(*first, cleaner=cleaner)
    assert kept == []
    assert dropped == {GERMAN: Reason.DUPLICATE, ENGLISH: Reason.ALONE}
    # Another partner makes another pair.
    assert _clean(_row("en", ENGLISH), _row("fr", FRENCH), cleaner=cleaner)[0] == [ENGLISH, FRENCH]
    other = "Last summer the old bridge across the river was rebuilt."
    assert _clean(_row("en", other), _row("de", GERMAN), cleaner=cleaner)[0] == [other, GERMAN]
    repeated = _clean(_row("en", "A b."), _row("de", "C d."), _row("de", "C d."))
    assert repeated == (["A b.", "C d."], {"C d.": Reason.REPEATED})


def test_what_has_nothing_beside_it_goes_unless_it_has_another_granularity() -> None:
    assert _clean(_row("en", "word", "phrase"), _row("en", "term", "phrase"))[0] == []
    kept, _ = _clean(_row("en", "bridge", "phrase"), _row("en", ENGLISH))
    assert kept == ["bridge", ENGLISH]


LANGUAGES = st.sampled_from(["en", "de", "fr", "ja"])
ROW = st.builds(
    _row,
    LANGUAGES,
    st.sampled_from(["A b", "C", "Stein " * 30, "家", "c"]),
    st.sampled_from(["phrase", "sentence", "paragraph"]),
)


FLAGGED = st.lists(st.tuples(ROW, st.booleans()), min_size=1, max_size=8)


@given(st.lists(FLAGGED, max_size=5))
@settings(deadline=None)
def test_every_row_is_kept_or_dropped_once_and_no_aligned_text_stays_twice(
    entities: list[list[tuple[Row, bool]]],
) -> None:
    cleaner = EntityCleaner()
    aligned: Counter[tuple[str, ...]] = Counter()
    for flagged in entities:
        rows = [row for row, _ in flagged]
        kept, dropped = cleaner.clean(rows, [found for _, found in flagged])
        assert Counter([*kept, *(row for row, _ in dropped)]) == Counter(rows)
        assert len(set(kept)) == len(kept)
        for granularity in ("phrase", "sentence", "paragraph"):
            group = [row for row in kept if row.granularity == granularity]
            # Brute force: every text with its English, wherever both were kept.
            english = [row.text for row in group if row.language == "en"][:1]
            aligned.update(
                (granularity, anchor, row.language, row.text)
                for anchor in english
                for row in group
                if row.language != "en"
            )
    assert all(count == 1 for count in aligned.values())


@given(FLAGGED)
@settings(deadline=None)
def test_a_phrase_of_a_test_set_goes_alone_and_a_longer_text_with_all_of_its_id(
    flagged: list[tuple[Row, bool]],
) -> None:
    rows, flags = [row for row, _ in flagged], [found for _, found in flagged]
    kept, dropped = EntityCleaner().clean(rows, flags)
    rest = [row for row, found in flagged if not found]
    if any(found and row.granularity != "phrase" for row, found in flagged):
        assert kept == []
        assert {reason for _, reason in dropped} == {Reason.EVALUATION}
    else:
        # As if the phrase had never been there.
        assert kept == EntityCleaner().clean(rest, [False] * len(rest))[0]
        taken = Counter(row for row, reason in dropped if reason is Reason.EVALUATION)
        assert taken == Counter(row for row, found in flagged if found)


def test_names_in_other_languages_stay_when_some_are_in_a_test_set() -> None:
    rows = [
        _row(language, text, "phrase")
        for language, text in {"en": "Paris", "zh": "巴黎", "ru": "Париж", "el": "Παρίσι"}.items()
    ]
    kept, dropped = EntityCleaner().clean(rows, [True, True, False, False])
    assert [row.text for row in kept] == ["Παρίσι", "Париж"]
    assert dropped == [(rows[0], Reason.EVALUATION), (rows[1], Reason.EVALUATION)]
    # One name left says nothing.
    assert EntityCleaner().clean(rows, [True, True, True, False])[0] == []


def test_without_english_the_odd_one_out_goes_whichever_comes_first() -> None:
    rows = [_row(language, text) for language, text in (("de", GERMAN), ("fr", FRENCH))]
    assert _clean(_row("bg", "Мост."), *rows)[1] == {"Мост.": Reason.RATIO}
    assert _clean(*rows, _row("ru", "Мост."))[1] == {"Мост.": Reason.RATIO}
    # Of two nobody knows which is wrong.
    kept, dropped = _clean(_row("bg", "Мост."), rows[0])
    assert kept == []
    assert dropped == {GERMAN: Reason.RATIO, "Мост.": Reason.ALONE}
    # English is believed against all others.
    kept, dropped = _clean(_row("en", "Bridge."), *rows)
    assert kept == []
    assert dropped == {GERMAN: Reason.RATIO, FRENCH: Reason.RATIO, "Bridge.": Reason.ALONE}


def test_languages_too_close_to_be_told_apart_may_share_a_sentence() -> None:
    same = "Stari most preko rijeke je obnovljen."
    assert _clean(_row("hr", same), _row("bs", same), _row("de", GERMAN))[1] == {}
    shared = _clean(_row("hr", same), _row("it", same), _row("sv", GERMAN))
    assert shared == ([same, GERMAN], {same: Reason.UNTRANSLATED})
