"""The ways through the adapters, and each text encoded once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Granularity
from tests.training.evaluation.eval_sets import DIMENSION, FakeEncoder, surface
from training.errors import TrainingError
from training.evaluation.reading import Space, VectorCache, systems

NAMES = ("phrase", "sentence", "paragraph")
ENTRY_BYTES = DIMENSION * 4 + 2 * len("text 0") + 400


def test_systems_are_none_each_adapter_and_routed() -> None:
    found = systems(FakeEncoder(frozenset()).model, None)
    assert list(found) == ["none", *NAMES, "routed"]
    assert set(found["none"].values()) == {None}
    assert set(found["phrase"].values()) == {"phrase"}
    assert found["routed"] == {**{Granularity(n): n for n in NAMES}, Granularity.WORD: "sentence"}


def test_a_service_has_no_way_round_its_adapters() -> None:
    model = FakeEncoder(frozenset(), has_plain=False).model
    assert list(systems(model, None)) == [*NAMES, "routed"]
    with pytest.raises(TrainingError, match="names none; fake can be read through phrase, "):
        systems(model, ["none", "phrase"])


def test_a_word_adapter_reads_words_alone_and_is_where_they_are_routed() -> None:
    model = FakeEncoder(frozenset()).model
    model = replace(model, adapters={**model.adapters, "words": Granularity.WORD})
    found = systems(model, ["words", "routed"])
    assert found["words"] == {Granularity.WORD: "words"}
    assert found["routed"][Granularity.WORD] == "words"


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=8),
    st.integers(0, 12 * ENTRY_BYTES),
)
def test_the_cache_answers_as_the_encoder_within_its_budget(
    requests: list[list[int]], budget_bytes: int
) -> None:
    encoder = FakeEncoder(frozenset())
    cache = VectorCache(encoder, budget_bytes)
    for number, request in enumerate(requests):
        texts = [f"text {each}" for each in request]
        adapter = NAMES[number % 2]
        np.testing.assert_array_equal(cache.embed(texts, adapter), [surface(t) for t in texts])
        assert cache.used_bytes <= budget_bytes
        assert len(cache) * ENTRY_BYTES == cache.used_bytes


def test_a_text_is_encoded_once_per_adapter_while_there_is_room() -> None:
    encoder = FakeEncoder(frozenset())
    cache = VectorCache(encoder, 3 * ENTRY_BYTES)
    for texts in (["text 0", "text 1"], ["text 1", "text 0"], ["text 0", "text 2"]):
        cache.embed(texts, "phrase")
    assert max(Counter(encoder.encoded).values()) == 1
    cache.embed(["text 3"], "phrase")  # text 1 was used least lately
    cache.embed(["text 0", "text 2", "text 3"], "phrase")
    assert max(Counter(encoder.encoded).values()) == 1
    cache.embed(["text 1"], "phrase")
    assert Counter(encoder.encoded)["phrase", "text 1"] == 2
    cache.embed(["text 1"], "sentence")
    assert encoder.encoded[-1] == ("sentence", "text 1")


def test_a_space_encodes_each_granularity_through_its_adapter() -> None:
    encoder = FakeEncoder(frozenset({"paragraph"}))
    route = systems(encoder.model, None)["routed"]
    texts = {
        Granularity.PHRASE: ["a 1", "b 2", "a 1"],
        Granularity.PARAGRAPH: ["c 1", "d 2"],
        Granularity.WORD: ["w1 w2"],
    }
    space = Space.encode(encoder, VectorCache(encoder, 1 << 20), route, texts)
    assert Counter(encoder.encoded) == Counter(
        [("phrase", "a 1"), ("phrase", "b 2"), ("paragraph", "c 1"), ("paragraph", "d 2")]
    )
    found = space.vectors(Granularity.PHRASE, ["b 2", "a 1", "b 2"])
    np.testing.assert_array_equal(found, [surface("b 2"), surface("a 1"), surface("b 2")])
    ((first, _),) = space.words([["en:w1", "en:w2"]])
    # The fake's paragraph adapter gives meaning: the same vector as that of word 1.
    assert first @ space.vectors(Granularity.PARAGRAPH, ["c 1"])[0] == pytest.approx(1)
