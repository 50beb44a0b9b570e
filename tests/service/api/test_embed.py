from __future__ import annotations

import base64
import json
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


def _units(count: int) -> list[str]:
    rng = np.random.default_rng(5)
    words = list(VOCABULARY)[4:40]
    return [" ".join(rng.choice(words, 5)) for _ in range(count)]


@pytest.mark.parametrize("dimensions", [3, 5])
def test_fewer_dimensions_are_the_first_and_have_length_1(
    cut_client: TestClient, dimensions: int
) -> None:
    texts = _units(20)
    answer = _embed(cut_client, inputs=texts, dimensions=dimensions, granularity="sentence")
    assert answer["dimensions"] == dimensions
    for text, item in zip(texts, answer["data"], strict=True):
        first = expected_embedding(text, "sentence")[:dimensions].astype(np.float64)
        np.testing.assert_allclose(item["embedding"], first / np.linalg.norm(first), atol=1e-5)


def test_all_dimensions_may_be_asked_for_and_change_nothing(
    client: TestClient, cut_client: TestClient
) -> None:
    texts = _units(5)
    for one in (client, cut_client):
        whole = _embed(one, inputs=texts)
        assert _embed(one, inputs=texts, dimensions=DIMENSION) == whole


def test_fewer_dimensions_without_normalisation_are_the_first_as_they_are(
    cut_client: TestClient,
) -> None:
    whole = _embed(cut_client, inputs="the cat", normalize=False)["data"][0]["embedding"]
    cut = _embed(cut_client, inputs="the cat", normalize=False, dimensions=3)["data"][0]
    assert cut["embedding"] == whole[:3]


@pytest.mark.parametrize("dimensions", [None, 5])
def test_int8_times_its_scale_is_the_vector(cut_client: TestClient, dimensions: int | None) -> None:
    body = {"inputs": _units(30), "dimensions": dimensions}
    whole, short = _embed(cut_client, **body), _embed(cut_client, **body, encoding="int8")
    assert whole["scale"] is None
    size = dimensions or DIMENSION
    assert short["scale"] == pytest.approx(10 / (127 * size**0.5))
    for one, other in zip(whole["data"], short["data"], strict=True):
        assert all(type(value) is int and -127 <= value <= 127 for value in other["embedding"])
        back = np.array(other["embedding"]) * short["scale"]
        np.testing.assert_allclose(back, one["embedding"], atol=short["scale"] / 2 + 1e-6)


@pytest.mark.parametrize("dimensions", [None, 3])
def test_binary_is_one_bit_for_each_sign(cut_client: TestClient, dimensions: int | None) -> None:
    body = {"inputs": _units(30), "dimensions": dimensions}
    whole, short = _embed(cut_client, **body), _embed(cut_client, **body, encoding="binary")
    assert short["dimensions"] == whole["dimensions"]
    for one, other in zip(whole["data"], short["data"], strict=True):
        bits = "".join("1" if value > 0 else "0" for value in one["embedding"])
        assert other["embedding"] == [int(bits.ljust(8, "0"), 2)]


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [("float", "<f4"), ("base64", "<f4"), ("int8", "i1"), ("binary", "u1")],
)
def test_a_binary_answer_holds_the_same(client: TestClient, encoding: str, dtype: str) -> None:
    body = {"inputs": _units(40), "encoding": encoding}
    answer = _embed(client, **body)
    headers = {"Accept": "application/octet-stream"}
    response = client.post("/embed", json=body, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    line, _, rows = response.content.partition(b"\n")
    assert (len(line) + 1) % 64 == 0
    head = json.loads(line)
    embeddings = [item.pop("embedding") for item in answer["data"]]
    for index, item in enumerate(answer["data"]):
        assert item.pop("index") == index
    assert head == answer
    if encoding == "base64":
        embeddings = [np.frombuffer(base64.b64decode(each), "<f4") for each in embeddings]
    vectors = np.frombuffer(rows, dtype).reshape(40, -1)
    np.testing.assert_array_equal(vectors, np.array(embeddings, dtype))


def test_a_refusal_is_json_whatever_is_accepted(client: TestClient) -> None:
    headers = {"Accept": "application/octet-stream"}
    response = client.post("/embed", json={"inputs": ""}, headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "inputs"


def test_an_answer_of_many_turns_is_the_same_to_the_byte(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Accept": "application/octet-stream"}
    requests: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("/embed", {"inputs": _units(700)}, {}),
        ("/embed", {"inputs": _units(700), "encoding": "base64"}, headers),
        ("/similarity", {"sources": _units(40), "targets": _units(30)}, {}),
        ("/align", {"source": _units(300), "target": _units(300)}, {}),
    ]

    def answers() -> list[bytes]:
        return [
            client.post(path, json=body, headers=extra).content for path, body, extra in requests
        ]

    whole = answers()
    monkeypatch.setattr("service.api.responses.TURN_VALUES", 100)
    assert answers() == whole
