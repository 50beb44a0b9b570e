from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.tiny_bundle import DIMENSION, VOCABULARY, expected_embedding


def _embed(client: TestClient, **body: object) -> dict[str, Any]:
    response = client.post("/embed", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_list_gets_one_vector_for_each_text_in_order(client: TestClient) -> None:
    texts = ["the cat sat on the mat", "hund", "le chat"]
    answer = _embed(client, inputs=texts, granularity="sentence")
    assert answer["model"] == "tiny"
    assert answer["dimensions"] == DIMENSION
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    for text, item in zip(texts, answer["data"], strict=True):
        oracle = expected_embedding(text, "sentence")
        np.testing.assert_allclose(item["embedding"], oracle, atol=1e-6)
    assert [item["tokens"] for item in answer["data"]] == [8, 3, 4]
    assert answer["usage"] == {"tokens": 15}


def test_one_text_may_stand_without_a_list(client: TestClient) -> None:
    one = _embed(client, inputs="the cat")
    assert one == _embed(client, inputs=["the cat"])
    assert len(one["data"]) == 1


def test_every_text_is_routed_by_itself(client: TestClient) -> None:
    answer = _embed(client, inputs=["Big Dog", "The dog sat.", "The dog sat. The cat sat."])
    for key in ("granularity", "adapter"):
        assert [item[key] for item in answer["data"]] == ["phrase", "sentence", "paragraph"]


def test_granularity_may_be_given_for_each_text(client: TestClient) -> None:
    answer = _embed(
        client, inputs=["cat", "cat", "The cat sat."], granularity=["paragraph", "phrase", "auto"]
    )
    assert [item["adapter"] for item in answer["data"]] == ["paragraph", "phrase", "sentence"]
    np.testing.assert_allclose(
        answer["data"][0]["embedding"], expected_embedding("cat", "paragraph"), atol=1e-6
    )


def test_an_adapter_may_be_named(client: TestClient) -> None:
    (item,) = _embed(client, inputs="The cat sat.", adapter="phrase")["data"]
    assert (item["adapter"], item["granularity"]) == ("phrase", "phrase")
    oracle = expected_embedding("The cat sat.", "phrase")
    np.testing.assert_allclose(item["embedding"], oracle, atol=1e-6)


def test_base64_holds_the_same_numbers(client: TestClient) -> None:
    texts = ["the cat", "The dog sat."]
    plain = _embed(client, inputs=texts)["data"]
    packed = _embed(client, inputs=texts, encoding="base64")["data"]
    for one, other in zip(plain, packed, strict=True):
        vector = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        np.testing.assert_array_equal(vector, np.array(one["embedding"], np.float32))


def test_without_normalisation_lengths_differ_and_directions_do_not(client: TestClient) -> None:
    (unit,) = _embed(client, inputs="the cat")["data"]
    (raw,) = _embed(client, inputs="the cat", normalize=False)["data"]
    norm = np.linalg.norm(raw["embedding"])
    assert abs(norm - 1) > 0.1
    np.testing.assert_allclose(np.array(raw["embedding"]) / norm, unit["embedding"], atol=1e-5)


def test_a_long_text_is_windowed_truncated_or_refused(client: TestClient) -> None:
    body = {"inputs": ["cat", "cat " * 20], "granularity": "sentence"}
    window = _embed(client, **body, long_text="window")["data"][1]
    assert (window["tokens"], window["truncated"]) == (22, False)
    assert window == _embed(client, **body)["data"][1]
    truncate = _embed(client, **body, long_text="truncate")["data"][1]
    assert (truncate["tokens"], truncate["truncated"]) == (16, True)
    response = client.post("/embed", json={**body, "long_text": "error"})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "inputs[1]"


def test_a_hundred_mixed_texts_get_the_vectors_they_get_alone(client: TestClient) -> None:
    rng = np.random.default_rng(11)
    words = list(VOCABULARY)[4:100]
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 60, 100)]
    together = _embed(client, inputs=texts)["data"]
    assert len({item["adapter"] for item in together}) == 3
    for text, item in zip(texts, together, strict=True):
        (alone,) = _embed(client, inputs=text)["data"]
        cosine = float(np.dot(item["embedding"], alone["embedding"]))
        assert cosine >= 0.9999
        assert {**item, "index": 0, "embedding": None} == {**alone, "embedding": None}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/vnd.x+json; charset=UTF-8"]
)
def test_json_media_types_are_taken(client: TestClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    body = '{"inputs": "猫\\u0041"}'.encode()
    assert client.post("/embed", content=body, headers=headers).status_code == 200
