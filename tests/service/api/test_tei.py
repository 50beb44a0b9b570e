"""/tei on the wire; `tests/service/test_clients.py` uses it through the real clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.tiny_bundle import expected_embedding

LONG = "the cat sat on the mat " * 10


def _post(client: TestClient, path: str, **body: object) -> Any:  # noqa: ANN401
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", ["/tei/embed", "/tei"])
def test_embed_answers_a_list_of_vectors(client: TestClient, path: str) -> None:
    (one,) = _post(client, path, inputs="the cat", prompt_name="sentence")
    np.testing.assert_allclose(one, expected_embedding("the cat", "sentence"), atol=1e-5)
    texts = ["cat", "the dog"]
    for vector, text in zip(_post(client, path, inputs=texts), texts, strict=True):
        np.testing.assert_allclose(vector, expected_embedding(text, "phrase"), atol=1e-5)


@pytest.mark.parametrize("path", ["/tei/similarity", "/tei"])
def test_similarity_answers_a_list_of_cosines(client: TestClient, path: str) -> None:
    inputs = {"source_sentence": "the cat sat.", "sentences": ["the dog sat.", "le chat."]}
    scores = _post(client, path, inputs=inputs)
    source, *others = (
        expected_embedding(text, "sentence")
        for text in ("the cat sat.", "the dog sat.", "le chat.")
    )
    np.testing.assert_allclose(scores, [source @ other for other in others], atol=1e-5)
    assert _post(client, path, inputs=inputs, parameters={}) == scores


def test_long_texts_are_read_whole_unless_told_to_be_cut(client: TestClient) -> None:
    (windowed,) = _post(client, "/tei/embed", inputs=LONG)
    (cut,) = _post(client, "/tei/embed", inputs=LONG, truncate=True, truncation_direction="Right")
    own = {"inputs": LONG, "long_text": "window"}
    np.testing.assert_allclose(
        windowed, _post(client, "/embed", **own)["data"][0]["embedding"], atol=1e-6
    )
    own["long_text"] = "truncate"
    np.testing.assert_allclose(
        cut, _post(client, "/embed", **own)["data"][0]["embedding"], atol=1e-6
    )
    assert windowed != cut


def test_normalize_and_dimensions(cut_client: TestClient) -> None:
    (raw,) = _post(cut_client, "/tei/embed", inputs="cat", normalize=False)
    (cut,) = _post(cut_client, "/tei/embed", inputs="cat", dimensions=3)
    assert abs(np.linalg.norm(raw) - 1) > 1e-3
    np.testing.assert_allclose(cut, np.array(raw[:3]) / np.linalg.norm(raw[:3]), atol=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/tei/embed", {"inputs": [1, 2]}, "token numbers"),
        ("/tei", {"inputs": [[1]]}, "token numbers"),
        ("/tei/embed", {"inputs": []}, "inputs is an empty list"),
        ("/tei/embed", {"inputs": ["a", ""]}, "inputs[1] is ''"),
        ("/tei/embed", {"inputs": "a", "prompt_name": "query"}, "use one of phrase, sentence"),
        ("/tei/embed", {"inputs": "a", "prompt_name": "word"}, "use one of phrase, sentence"),
        (
            "/tei/embed",
            {"inputs": "a", "truncate": True, "truncation_direction": "Left"},
            "cut at their end alone",
        ),
        ("/tei/embed", {"inputs": "a", "dimensions": 3}, "dimensions is 3"),
        ("/tei/embed", {"inputs": {"source_sentence": "a"}}, "it must be a string"),
        ("/tei/similarity", {"inputs": "a"}, "inputs"),
        ("/tei", {"inputs": {"source_sentence": "a", "sentences": []}}, "sentences is an empty"),
        (
            "/tei/similarity",
            {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"x": 1}},
            "parameters has 'x'",
        ),
    ],
)
def test_errors_have_the_shape_of_teis(
    client: TestClient, path: str, body: dict[str, object], message: str
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 422
    answer = response.json()
    assert set(answer) == {"error", "error_type"}
    assert answer["error_type"] == "Validation"
    assert message in answer["error"]


@pytest.mark.parametrize("name", ["embed_all", "embed_sparse", "predict", "rerank", "tokenize"])
def test_what_is_not_offered_says_so(client: TestClient, name: str) -> None:
    response = client.post(f"/tei/{name}", json={"inputs": "a"})
    assert response.status_code == 404
    assert f"/tei/{name} is not offered: " in response.json()["error"]


def test_info_and_health(client: TestClient) -> None:
    info = client.get("/tei/info").json()
    assert (info["model_id"], info["model_type"]) == ("tiny", {"embedding": {"pooling": "mean"}})
    assert (info["max_input_length"], info["max_client_batch_size"]) == (32, 2_048)
    assert client.get("/tei/health").status_code == 200
