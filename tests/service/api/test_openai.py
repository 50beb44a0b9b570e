"""/v1 on the wire; `tests/service/test_clients.py` uses it through the real client."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.tiny_bundle import DIMENSION, expected_embedding


def _post(client: TestClient, **body: object) -> Any:  # noqa: ANN401
    response = client.post("/v1/embeddings", json={"model": "tiny", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_answer_has_the_shape_of_openais(client: TestClient) -> None:
    answer = _post(client, input=["the cat", "the dog sat."], model="tiny:sentence", user="u")
    vectors = [item.pop("embedding") for item in answer["data"]]
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": n} for n in (0, 1)],
        "model": "tiny:sentence",
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    }
    for text, vector in zip(("the cat", "the dog sat."), vectors, strict=True):
        np.testing.assert_allclose(vector, expected_embedding(text, "sentence"), atol=1e-5)


def test_base64_holds_the_same_float32(client: TestClient) -> None:
    plain = _post(client, input="the cat")["data"][0]["embedding"]
    packed = _post(client, input="the cat", encoding_format="base64")["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed), "<f4"), np.float32(plain))


def test_the_name_alone_routes_and_a_suffix_names_the_adapter(client: TestClient) -> None:
    routed = _post(client, input="cat")["data"][0]["embedding"]
    np.testing.assert_allclose(routed, expected_embedding("cat", "phrase"), atol=1e-5)
    named = _post(client, input="cat", model="tiny:paragraph")["data"][0]["embedding"]
    np.testing.assert_allclose(named, expected_embedding("cat", "paragraph"), atol=1e-5)


def test_dimensions_cut_and_normalise(cut_client: TestClient) -> None:
    whole = np.array(_post(cut_client, input="cat")["data"][0]["embedding"])
    cut = _post(cut_client, input="cat", dimensions=3)["data"][0]["embedding"]
    np.testing.assert_allclose(cut, whole[:3] / np.linalg.norm(whole[:3]), atol=1e-6)
    full = _post(cut_client, input="cat", dimensions=DIMENSION)["data"][0]["embedding"]
    np.testing.assert_array_equal(full, whole)


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "message"),
    [
        ({"input": [1, 2]}, 400, "invalid_value", "input", "token numbers, which are another"),
        ({"input": [[1], [2]]}, 400, "invalid_value", "input", "check_embedding_ctx_length=False"),
        ({"input": []}, 400, "invalid_value", "input", "input is an empty list"),
        ({"input": ""}, 400, "invalid_value", "input", "an empty text has no vector"),
        ({"input": ["a", " "]}, 400, "invalid_value", "input[1]", "an empty text"),
        ({"input": 5}, 400, "invalid_value", "input", "input is an integer; it must be a string"),
        ({"input": "a", "dimensions": 4}, 400, "invalid_value", "dimensions", "dimensions is 4"),
        ({"input": "a", "encoding_format": "int8"}, 400, "invalid_value", None, "float, base64"),
        ({"input": "a", "model": "gpt"}, 404, "model_not_found", "model", "use one of tiny, tiny:"),
        ({"input": "a", "model": "tiny:word"}, 404, "model_not_found", "model", "tiny:paragraph"),
        ({"input": "a", "model": "tiny:"}, 404, "model_not_found", "model", "no model 'tiny:'"),
        ({"input": "a", "extra": 1}, 400, "invalid_value", "extra", "unknown field extra"),
        ({"input": ["a"] * 2_049}, 400, "too_large", "input", "at most 2048 are allowed"),
    ],
)
def test_errors_have_openais_statuses_and_shape(
    client: TestClient,
    body: dict[str, object],
    status: int,
    code: str,
    param: str | None,
    message: str,
) -> None:
    response = client.post("/v1/embeddings", json={"model": "tiny", **body})
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert message in error["message"]
    if param is not None:
        assert error["param"] == param


def test_models_are_the_bundle_and_its_text_adapters(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert names == ["tiny", "tiny:phrase", "tiny:sentence", "tiny:paragraph"]
    for model in listed["data"]:
        assert client.get(f"/v1/models/{model['id']}").json() == model
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
    missing = client.get("/v1/models/gpt-4")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_a_path_that_is_not_there_is_404_in_the_same_shape(client: TestClient) -> None:
    response = client.post("/v1/chat/completions", json={})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
