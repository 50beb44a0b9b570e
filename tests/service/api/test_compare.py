"""/similarity and /align."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.alignment.matching import align_one_to_one
from tests.tiny_bundle import expected_embedding


def _post(client: TestClient, path: str, **body: object) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


SOURCES = ["The cat sat on the mat.", "The big dog sat.", "Red!"]
TARGETS = ["le chat sat.", "The cat sat on the mat.", "hund on the mat", "the big dog sat."]


def _oracle(texts: list[str], adapter: str) -> np.ndarray:
    return np.stack([expected_embedding(text, adapter) for text in texts])


def test_similarities_are_cosines_of_the_vectors(client: TestClient) -> None:
    answer = _post(client, "/similarity", sources=SOURCES, targets=TARGETS, granularity="sentence")
    expected = _oracle(SOURCES, "sentence") @ _oracle(TARGETS, "sentence").T
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    assert np.abs(answer["scores"]).max() <= 1
    assert (answer["granularity"], answer["adapter"]) == ("sentence", "sentence")
    assert len(answer["sources"]) == 3
    assert [item["tokens"] for item in answer["targets"]] == [6, 9, 6, 7]
    assert answer["usage"]["tokens"] == sum(
        item["tokens"] for item in answer["sources"] + answer["targets"]
    )


def test_texts_of_comparable_adapters_each_take_their_own(client: TestClient) -> None:
    sentence, paragraph = "The cat sat.", "The cat sat. The dog sat."
    answer = _post(client, "/similarity", sources=[sentence], targets=[paragraph])
    assert (answer["granularity"], answer["adapter"]) == (None, None)
    assert answer["sources"][0]["adapter"] == "sentence"
    assert answer["targets"][0]["adapter"] == "paragraph"
    expected = expected_embedding(sentence, "sentence") @ expected_embedding(paragraph, "paragraph")
    np.testing.assert_allclose(answer["scores"], [[expected]], atol=1e-5)


@pytest.mark.parametrize(
    ("path", "names"), [("/similarity", ("sources", "targets")), ("/align", ("source", "target"))]
)
def test_the_coarsest_takes_all_where_adapters_are_not_comparable(
    client: TestClient, path: str, names: tuple[str, str]
) -> None:
    lists = {names[0]: ["Big Dog"], names[1]: ["The cat sat.", "Red"]}
    answer = _post(client, path, **lists)
    assert (answer["granularity"], answer["adapter"]) == ("sentence", "sentence")
    facts = answer.get("items", answer)
    used = {item["adapter"] for name in names for item in facts[name]}
    assert used == {"sentence"}


def test_pairs_are_those_of_the_alignment(client: TestClient) -> None:
    answer = _post(client, "/align", source=SOURCES, target=TARGETS, granularity="sentence")
    expected = align_one_to_one(_oracle(SOURCES, "sentence"), _oracle(TARGETS, "sentence"))
    assert [(p["source"], p["target"]) for p in answer["pairs"]] == [
        ([p.source], [p.target]) for p in expected.pairs
    ]
    for ours, oracle in zip(answer["pairs"], expected.pairs, strict=True):
        assert ours["score"] == pytest.approx(oracle.score, abs=1e-4)
        assert ours["cosine"] == pytest.approx(oracle.cosine, abs=1e-5)
        assert ours["probability"] is None
    assert answer["unaligned"] == {
        "source": list(expected.unaligned_source),
        "target": list(expected.unaligned_target),
    }


def test_translations_that_are_equal_texts_find_each_other(client: TestClient) -> None:
    texts = ["The cat sat.", "The dog sat.", "The mat, red.", "Red cat on big mat!", "le chat."]
    answer = _post(client, "/align", source=texts, target=texts[::-1], score="cosine")
    assert {(p["source"][0], p["target"][0]) for p in answer["pairs"]} == {
        (n, 4 - n) for n in range(5)
    }
    scores = [pair["score"] for pair in answer["pairs"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["unaligned"] == {"source": [], "target": []}


def test_score_k_and_threshold_reach_the_alignment(client: TestClient) -> None:
    lists = {"source": SOURCES, "target": TARGETS, "granularity": "sentence"}
    cosine = _post(client, "/align", **lists, score="cosine")
    assert all(pair["score"] == pair["cosine"] for pair in cosine["pairs"])
    distance = _post(client, "/align", **lists, score="margin_distance", k=1)
    # With one neighbour, the margin of two texts that are each other's nearest is nothing.
    assert distance["pairs"][0]["score"] == pytest.approx(0, abs=1e-6)
    limit = cosine["pairs"][0]["score"] - 1e-5
    kept = _post(client, "/align", **lists, score="cosine", threshold=limit)
    assert kept["pairs"] == [p for p in cosine["pairs"] if p["score"] >= limit]
    assert len(kept["pairs"]) < len(cosine["pairs"])
    aligned = {pair["source"][0] for pair in kept["pairs"]}
    assert sorted(aligned | set(kept["unaligned"]["source"])) == [0, 1, 2]
