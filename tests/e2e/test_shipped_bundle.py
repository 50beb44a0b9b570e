"""The bundle that a newcomer gets: whole, small enough, and as its card says."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle import DEFAULT_BUNDLE, Bundle
from service.alignment.matching import align_one_to_one
from service.encoding.encoder import Encoder, Unit

ENGLISH = (
    "The library opens at nine in the morning.",
    "My brother bought a red bicycle.",
    "The president signed the agreement in Paris.",
    "Water boils at one hundred degrees.",
)
GERMAN = (
    "Der Präsident unterzeichnete das Abkommen in Paris.",
    "Wasser kocht bei hundert Grad.",
    "Mein Bruder kaufte ein rotes Fahrrad.",
    "Die Bibliothek öffnet um neun Uhr morgens.",
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.open(DEFAULT_BUNDLE, threads=1)


def test_it_is_whole_and_under_its_size() -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    assert bundle.graph().stat().st_size <= 50_000_000
    assert bundle.manifest.provenance["parity_max_abs_error"] <= 1e-5
    card = bundle.file(bundle.manifest.model_card).read_text(encoding="utf-8")
    for adapter, row in bundle.manifest.scores["adapter_by_task"].items():
        label = "no adapter" if adapter == "none" else f"{adapter} adapter"
        line = next(line for line in card.splitlines() if line.startswith(f"| {label} |"))
        for value in row.values():
            assert f"{value:.1f}" in line


def test_a_text_has_one_vector_whoever_shares_its_batch(encoder: Encoder) -> None:
    lengths = (1, 3, 8, 20, 60, 150, 400)
    words = ["bridge", "Haus", "maison", "дом", "家", "สะพาน", "جسر", "the", "of", "and"]
    texts = [
        " ".join(words[(number * 3 + place) % len(words)] for place in range(lengths[number % 7]))
        for number in range(100)
    ]
    together = encoder.encode([Unit(text, "text") for text in texts])
    assert {fact.granularity for fact in together.facts} == {"phrase", "sentence", "paragraph"}
    for text, vector in zip(texts, together.vectors, strict=True):
        (alone,) = encoder.encode([Unit(text, "text")]).vectors
        assert float(alone @ vector) >= 0.9999
        np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_it_aligns_german_with_english(encoder: Encoder) -> None:
    vectors = encoder.encode([Unit(text, "text") for text in (*ENGLISH, *GERMAN)]).vectors
    alignment = align_one_to_one(vectors[:4], vectors[4:])
    found = {pair.source: pair.target for pair in alignment.pairs}
    assert found == {0: 3, 1: 2, 2: 0, 3: 1}
