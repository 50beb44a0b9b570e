"""A bundle read by the suite, against the toy's computation written a second time."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from models.bundle import Bundle, Granularity
from tests.tiny_bundle import (
    ADAPTERS,
    DIMENSION,
    expected_embedding,
    expected_tokens,
    tiny_tokenizer,
)
from training.errors import TrainingError
from training.evaluation.cut import Cut
from training.evaluation.embedder import Embedder

TEXTS = ["the cat sat", "katze", "le chat on the mat", "big red dog", "katze"]
ROW = {adapter["name"]: adapter["row"] for adapter in ADAPTERS}


@pytest.fixture(scope="module")
def embedder(tiny_bundle: Bundle) -> Embedder:
    return Embedder.open(tiny_bundle.path, threads=1, plain=False)


@pytest.fixture
def tokenizer() -> Tokenizer:
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def test_what_the_manifest_says(embedder: Embedder) -> None:
    model = embedder.model
    assert (model.name, model.version, model.dimension) == ("tiny", "0.1.0", DIMENSION)
    assert model.adapters["paragraph"] is Granularity.PARAGRAPH
    assert model.routing[Granularity.PHRASE] == "phrase"
    assert (model.has_plain, model.has_tokens) == (False, True)


@pytest.mark.parametrize("adapter", ["phrase", "sentence", "paragraph"])
def test_texts_get_the_vectors_that_they_have_alone(embedder: Embedder, adapter: str) -> None:
    expected = [expected_embedding(text, adapter) for text in TEXTS]
    np.testing.assert_allclose(embedder.embed(TEXTS, adapter), expected, atol=1e-6)


def test_texts_are_cut_at_the_limit_of_the_adapter(embedder: Embedder) -> None:
    # Eight tokens, two of them special.
    long, short = "the cat sat on the mat big red dog", "the cat sat on the mat"
    np.testing.assert_allclose(
        embedder.embed([long], "phrase"), [expected_embedding(short, "phrase")], atol=1e-6
    )
    assert not np.allclose(embedder.embed([long], "sentence"), embedder.embed([short], "sentence"))


def test_a_word_is_the_mean_of_its_sub_words(embedder: Embedder, tokenizer: Tokenizer) -> None:
    sentences = [["the", "catx", "sat"], ["xyz", "dog"], ["a", "\u200b", "b"], []]
    found = embedder.embed_words(sentences, "sentence")
    for words, vectors in zip(sentences[:3], found[:3], strict=True):
        ids, places = [tokenizer.token_to_id("[CLS]")], []
        for word in words:
            pieces = tokenizer.encode(word, add_special_tokens=False).ids
            places.append(range(len(ids), len(ids) + len(pieces)))
            ids += pieces
        states = expected_tokens([*ids, tokenizer.token_to_id("[SEP]")], ROW["sentence"])
        for vector, place in zip(vectors, places, strict=True):
            expected = states[list(place)].mean(axis=0) if place else np.zeros(DIMENSION)
            np.testing.assert_allclose(vector, expected, atol=1e-5)
    # A word of three letters is in pieces; one of no visible character is in none.
    assert len(tokenizer.encode("xyz", add_special_tokens=False).ids) == 3
    assert not found[2][1].any()
    assert found[3].shape == (0, DIMENSION)


def test_words_beyond_the_limit_have_no_vector(embedder: Embedder) -> None:
    (vectors,) = embedder.embed_words([["the", "cat", "sat", "on", "the", "mat", "dog"]], "phrase")
    assert vectors[:6].any(axis=1).all()
    assert not vectors[6].any()


def test_the_plain_backbone_must_be_asked_for(embedder: Embedder, tiny_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="plain=True"):
        embedder.embed(TEXTS, None)
    # The toy's weights are not named as `export` names them.
    with pytest.raises(TrainingError, match="--adapters, without none"):
        Embedder.open(tiny_bundle.path, threads=1)


def test_cut_vectors_are_the_first_dimensions_of_unit_length(tiny_bundle: Bundle) -> None:
    whole = Embedder.open(tiny_bundle.path, threads=1, plain=False)
    cut = Cut(whole, 3)
    texts = ["the cat sat", "le chat"]
    expected = whole.embed(texts, "phrase")[:, :3]
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.embed(texts, "phrase"), expected, rtol=1e-6)
    assert cut.model.dimension == 3
    (words,) = cut.embed_words([["the", "cat"]], "phrase")
    np.testing.assert_array_equal(words, whole.embed_words([["the", "cat"]], "phrase")[0][:, :3])
    with pytest.raises(TrainingError, match=f"give 1 to {DIMENSION}"):
        Cut(whole, DIMENSION + 1)
