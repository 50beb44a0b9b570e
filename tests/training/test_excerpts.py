from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import Granularity
from training.corpora.rows import Row
from training.excerpts import Excerpts, cut_phrase, cut_sentence

ENGLISH = 'The bridge is old. "Is it made of stone?" he asked (twice). It was 3.5 m wide!'
JAPANESE = "橋はとても古いと言われています。石でできているのだろうか？幅は三メートル半あります。"
HINDI = "पुल बहुत पुराना है। क्या यह पत्थर का बना है? यह चौड़ा था।"


def _all(cut: object, text: str) -> set[str | None]:
    return {cut(text, np.random.default_rng(seed)) for seed in range(200)}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (ENGLISH, {"The bridge is old.", '"Is it made of stone?', "he asked (twice)."}),
        (JAPANESE, set(JAPANESE.replace("。", "。|").replace("？", "？|").split("|")) - {""}),
        (HINDI, {"पुल बहुत पुराना है।", "क्या यह पत्थर का बना है?", "यह चौड़ा था।"}),
    ],
)
def test_a_sentence_is_cut_at_the_marks_of_its_script(text: str, sentences: set[str]) -> None:
    assert sentences <= _all(cut_sentence, text)
    assert all(each is not None and each in text for each in _all(cut_sentence, text))


def test_one_sentence_is_no_excerpt_of_itself() -> None:
    assert _all(cut_sentence, "The bridge is old, and made of stone.") == {None}
    assert _all(cut_sentence, "Yes. The bridge is old and made of stone.") == {None}


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from(" .?!。'\"-\n\u00a0\u3000abÄйक1橋"), max_size=60),
    seed=st.integers(0, 5),
)
def test_an_excerpt_is_a_part_of_its_text(text: str, seed: int) -> None:
    for cut in (cut_sentence, cut_phrase):
        found = cut(text, np.random.default_rng(seed))
        assert found is None or (found in text and found.strip() == found != "")


def test_a_phrase_is_a_few_words_with_nothing_between_them() -> None:
    found = _all(cut_phrase, "old bridge, l'eau of Saint-Denis")
    assert {"old bridge", "l'eau of Saint-Denis", "Saint-Denis", None} <= found
    assert not any("," in phrase for phrase in found if phrase)
    # Marks belong to their letters, and code is no phrase.
    assert {"पुल बहुत पुराना", "चौड़ा", "पत्थर"} <= _all(cut_phrase, HINDI)
    assert "می‌خواهم" in _all(cut_phrase, "(می‌خواهم) بروم.")
    assert _all(cut_phrase, "f.seek(offset) x==y") == {None}
    assert max(len(phrase.split()) for phrase in found if phrase) == 3
    # No spaces between words: where a word ends is not known.
    for text in (JAPANESE, "函数 的结果 是 这些", "สะพาน เก่า มาก", "ស្ពាន ចាស់"):
        assert _all(cut_phrase, text) == {None}
    assert "HTML file" in _all(cut_phrase, "это HTML file 函数")


def test_a_phrase_begins_and_ends_with_rare_words() -> None:
    rows = [
        Row(
            str(n),
            "s",
            "l",
            "paragraph",
            "en",
            f"the river word{chr(97 + n // 26)}{chr(97 + n % 26)} {n}",
        )
        for n in range(300)
    ]
    excerpts = Excerpts(rows)
    assert excerpts.is_rare("en", "wordaa")
    assert not excerpts.is_rare("en", "the wordaa")
    assert not excerpts.is_rare("en", "Wordaa 0")
    found = {excerpts.cut(Granularity.PHRASE, rows[0], np.random.default_rng(n)) for n in range(40)}
    assert found == {"wordaa", None} or found == {"wordaa"}
