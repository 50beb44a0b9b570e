from __future__ import annotations

from pathlib import Path

import pytest

from training.backbone import Backbone
from training.words import Words, words_of


def _words(folder: Path, text: str) -> tuple[Words, list[str]]:
    """The words of a text, and its tokens as they stand in it."""
    backbone = Backbone.open(str(folder), half_weights=False)
    (encoding,) = backbone.encode([text], 32)
    assert list(encoding.ids) == backbone.tokenize([text], 32)[0]
    return words_of(text, encoding), [text[start:end] for start, end in encoding.offsets]


def test_a_word_is_what_stands_between_spaces_and_punctuation(bert_folder: Path) -> None:
    words, tokens = _words(bert_folder, "Red house, don't (3.5) wait!")
    assert list(words.texts) == ["Red", "house", "don't", "3.5", "wait"]
    assert len(words.of_tokens) == len(tokens)
    for token, number in zip(tokens, words.of_tokens, strict=True):
        if number == -1:
            assert not any(map(str.isalnum, token))
        else:
            assert token.strip() in words.texts[number]
    # The apostrophe is a token of its own, and no word: what is on either side is one.
    assert words.of_tokens == [-1, 0, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 4, -1, -1]


def test_without_spaces_between_words_each_token_is_one(bert_folder: Path) -> None:
    words, _ = _words(bert_folder, "石橋 old")
    assert list(words.texts) == ["石", "橋", "old"]
    assert words.of_tokens == [-1, 0, 1, 2, -1]


@pytest.mark.parametrize("text", ["unheard-of words", "  grün  neu", "a\u00a0b"])
def test_sub_words_belong_to_their_word(xlmr_folder: Path, text: str) -> None:
    backbone = Backbone.open(str(xlmr_folder), half_weights=False)
    (encoding,) = backbone.encode([text], 32)
    words = words_of(text, encoding)
    assert list(words.texts) == text.split()
    covered: list[set[int]] = [set() for _ in words.texts]
    for (start, end), number in zip(encoding.offsets, words.of_tokens, strict=True):
        if number >= 0:
            covered[number] |= {place for place in range(start, end) if text[place].isalnum()}
    spelled = ["".join(text[place] for place in sorted(each)) for each in covered]
    assert spelled == [word.replace("-", "") for word in words.texts]


def test_words_that_were_cut_off_are_none(bert_folder: Path) -> None:
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    (encoding,) = backbone.encode(["old stone bridge"], 4)
    assert words_of("old stone bridge", encoding) == Words(["old", "stone"], [-1, 0, 1, -1])
