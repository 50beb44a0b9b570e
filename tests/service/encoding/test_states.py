"""The states of tokens, through the encoder and through the engine."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.encoding.encoder import Encoder, Engine, Unit
from service.errors import InvalidInput
from tests.tiny_bundle import ADAPTERS, expected_embedding, expected_tokens, tiny_tokenizer

TEXTS = ["the cat sat.", "Le chat!", "the big red dog sat on the mat"]


def _ids(text: str) -> list[int]:
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def _row(adapter: str) -> int:
    row: int = next(a["row"] for a in ADAPTERS if a["name"] == adapter)
    return row


def _units(texts: list[str]) -> list[Unit]:
    return [Unit(text, f"texts[{i}]", adapter="word") for i, text in enumerate(texts)]


def test_states_are_those_of_the_word_adapter_without_special_tokens(encoder: Encoder) -> None:
    found = encoder.encode_states(_units(TEXTS))
    for text, one in zip(TEXTS, found, strict=True):
        expected = expected_tokens(_ids(text), _row("word"))[1:-1]
        np.testing.assert_allclose(one.states, expected, atol=1e-5)
        assert (one.facts.adapter, one.facts.truncated) == ("word", False)
        assert one.facts.tokens == len(_ids(text))


def test_offsets_are_characters_of_the_text(encoder: Encoder) -> None:
    (found,) = encoder.encode_states(_units(["The  cat 猫 Ü"]))
    pieces = ["The  cat 猫 Ü"[start:end] for start, end in found.offsets]
    assert pieces == ["The", "cat", "猫", "Ü"]


def test_a_text_that_is_too_long_is_read_in_windows_and_whole(encoder: Encoder) -> None:
    text = " ".join(["cat", "dog", "mat", "sat", "on"] * 6)  # 30 tokens; the adapter takes 14
    (found,) = encoder.encode_states(_units([text]))
    assert found.states.shape[0] == 30
    assert len(found.offsets) == 30
    content = _ids(text)[1:-1]
    total, count = np.zeros_like(found.states), np.zeros((30, 1), np.float32)
    for start in (0, 8, 16):  # three windows of 14, evenly spread
        row = [_ids("a")[0], *content[start : start + 14], _ids("a")[-1]]
        total[start : start + 14] += expected_tokens(row, _row("word"))[1:-1]
        count[start : start + 14] += 1
    np.testing.assert_allclose(found.states, total / count, atol=1e-5)


def test_a_batch_may_mix_states_and_vectors(encoder: Encoder) -> None:
    async def both() -> None:
        engine = Engine(encoder, batch_tokens=1_024, queue_tokens=10_000, cache_bytes=1 << 20)
        for _ in range(2):  # the second time with the cache filled
            vectors, plain, states = await asyncio.gather(
                engine.encode([Unit(text, "x", adapter="sentence") for text in TEXTS]),
                engine.encode([Unit(text, "x", adapter="word") for text in TEXTS]),
                engine.encode_states(_units(TEXTS)),
            )
            expected = np.stack([expected_embedding(text, "sentence") for text in TEXTS])
            np.testing.assert_allclose(vectors.vectors, expected, atol=1e-5)
            expected = np.stack([expected_embedding(text, "word") for text in TEXTS])
            np.testing.assert_allclose(plain.vectors, expected, atol=1e-5)
            for text, one in zip(TEXTS, states, strict=True):
                expected = expected_tokens(_ids(text), _row("word"))[1:-1]
                np.testing.assert_allclose(one.states, expected, atol=1e-5)
        await engine.close()

    asyncio.run(both())


def test_a_blank_text_is_named(encoder: Encoder) -> None:
    with pytest.raises(InvalidInput, match=r"texts\[1\] is ' '"):
        encoder.encode_states(_units(["cat", " "]))
