from pathlib import Path

import pytest
from tokenizers import Tokenizer

from training.errors import TrainingError
from training.student.vocabulary import SPECIAL_TOKENS, balanced_texts, train_vocabulary


def test_every_language_gets_about_its_characters(clean_table: Path) -> None:
    texts = list(balanced_texts(clean_table, {"en": 600, "de": 600, "ja": 600}, {}, seed=1))
    latin = sum(len(text) for text in texts if text.isascii())
    dense = sum(len(text) for text in texts if any(ord(letter) > 0x3000 for letter in text))
    assert 600 <= latin < 1100  # one paragraph may overshoot
    assert 300 <= dense < 500  # dense scripts count double


def test_a_source_of_weight_zero_gives_nothing(clean_table: Path) -> None:
    assert list(balanced_texts(clean_table, {"en": 600}, {"made": 0.0}, seed=1)) == []


def test_a_language_that_the_table_lacks_is_named(clean_table: Path) -> None:
    with pytest.raises(TrainingError, match="holds nothing in sw"):
        list(balanced_texts(clean_table, {"sw": 10}, {}, seed=1))


def test_a_vocabulary_that_the_texts_cannot_fill_is_refused() -> None:
    with pytest.raises(TrainingError, match="ask for a smaller one"):
        train_vocabulary(["a b c"], 500)


def test_tokens_cross_neither_words_nor_marks_nor_digits(tokenizer: Tokenizer) -> None:
    for token in set(tokenizer.get_vocab()) - set(SPECIAL_TOKENS):
        assert "▁" not in token[1:]
        bare = token.removeprefix("▁")
        assert len(bare) <= 1 or not any(letter.isdigit() or letter in ".," for letter in bare)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, (old)  world", ["▁hello", ",", "▁(", "old", ")", "▁world"]),
        ("in 1999", ["▁in", "▁1", "9", "9", "9"]),
        ("日本語のWikipedia、とても", ["▁日本語の", "wikipedia", "、", "とても"]),
        ("API를 쓴다", ["▁api", "를", "▁쓴다"]),
        ("รถไฟBTS", ["▁รถไฟ", "bts"]),
    ],
)
def test_words_end_where_their_script_or_a_mark_says(
    tokenizer: Tokenizer, text: str, words: list[str]
) -> None:
    normal = tokenizer.normalizer.normalize_str(text)
    assert [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)] == words


def test_case_and_width_do_not_matter_and_every_text_begins_with_cls(tokenizer: Tokenizer) -> None:
    plain = tokenizer.encode("Red house  1").ids
    assert plain == tokenizer.encode(" rED ｈouse １").ids
    assert tokenizer.id_to_token(plain[0]) == "[CLS]"
    assert tokenizer.encode("").ids == plain[:1]
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2]
