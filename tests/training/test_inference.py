from __future__ import annotations

import numpy as np
import pytest

from models.bundle import Bundle
from tests.tiny_bundle import ADAPTERS, expected_embedding, expected_tokens, tiny_tokenizer
from training import inference
from training.inference import open_session, run_batches

TEXTS = {  # a text, and the adapter that it goes through
    "the cat sat": "phrase",
    "dog": "sentence",
    "le chat": "word",
    "the big red dog sat on the mat": "phrase",
}


@pytest.mark.parametrize("most_tokens", [1, 12, 4096])
def test_each_text_gets_what_its_own_adapter_gives_it_alone(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, most_tokens: int
) -> None:
    monkeypatch.setattr(inference, "_BATCH_TOKENS", most_tokens)
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = [tokenizer.encode(text).ids for text in TEXTS]
    row_of = {str(each["name"]): int(each["row"]) for each in ADAPTERS}
    adapters = [row_of[name] for name in TEXTS.values()]
    pad = tiny_bundle.manifest.tokenizer.pad_token_id
    session = open_session(str(tiny_bundle.graph()), threads=1)

    seen = []
    for places, vectors in run_batches(session, "embedding", rows, adapters, pad):
        seen += places
        for place, vector in zip(places, vectors, strict=True):
            text, name = list(TEXTS.items())[place]
            np.testing.assert_allclose(vector, expected_embedding(text, name), atol=1e-5)
    assert sorted(seen) == [0, 1, 2, 3]

    for places, states in run_batches(session, "tokens", rows, adapters, pad):
        for place, state in zip(places, states, strict=True):
            own = expected_tokens(rows[place], adapters[place])
            np.testing.assert_allclose(state[: len(own)], own, atol=1e-5)
