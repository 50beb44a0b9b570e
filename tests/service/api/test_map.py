"""GET /collections/{name}/map: the stored vectors in two dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings

WORDS = ("the", "cat", "sat", "on", "mat", "dog", "le", "chat", "katze", "hund", "big", "red")


@pytest.fixture(scope="module")
def client(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    with TestClient(create_app(settings, encoder)) as client:
        documents = [
            {"id": f"{number}", "text": f"{word} {WORDS[number - 1]}", "language": language}
            for number, word in enumerate(WORDS)
            for language in [("en", "en", "de", "fr")[number % 4]]
        ]
        client.put("/collections/words", json={"granularity": "phrase"})
        written = client.post("/collections/words/documents", json={"documents": documents})
        assert written.status_code == 200, written.text
        yield client


def test_every_document_lies_where_its_vector_is(client: TestClient) -> None:
    answer = client.get("/collections/words/map").json()
    assert (answer["documents"], answer["adapter"]) == (len(WORDS), "phrase")
    scrolled = client.post("/collections/words/scroll", json={"include": ["vector", "text"]}).json()
    vectors = {each["id"]: np.array(each["vector"], np.float64) for each in scrolled["documents"]}
    texts = {each["id"]: each["text"] for each in scrolled["documents"]}
    points = {point["id"]: np.array([point["x"], point["y"]]) for point in answer["points"]}
    assert points.keys() == vectors.keys()
    assert {point["id"]: point["text"] for point in answer["points"]} == texts
    ids = sorted(vectors)
    matrix = np.stack([vectors[id_] for id_ in ids])
    centred = matrix - matrix.mean(axis=0)
    sides, values, _ = np.linalg.svd(centred)
    shown = np.abs(np.stack([points[id_] for id_ in ids]))
    np.testing.assert_allclose(shown, np.abs(sides[:, :2] * values[:2]), atol=1e-4)
    np.testing.assert_allclose(answer["variance"], values[:2] ** 2 / (values**2).sum(), atol=1e-5)


def test_a_limit_takes_each_language_by_its_share(client: TestClient) -> None:
    answer = client.get("/collections/words/map?limit=4").json()
    assert answer["documents"] == len(WORDS)
    assert len(answer["points"]) == 4
    languages = Counter(point["language"] for point in answer["points"])
    assert set(languages) == {"en", "de", "fr"}
    assert client.get("/collections/words/map?limit=4").json() == answer


def test_only_one_adapter_is_drawn(client: TestClient) -> None:
    client.put("/collections/mixed", json={})
    documents = [
        {"id": "name", "text": "cat", "language": "en", "granularity": "phrase"},
        {"id": "one", "text": "the cat sat.", "language": "en", "granularity": "sentence"},
        {"id": "two", "text": "the dog sat.", "language": "en", "granularity": "sentence"},
    ]
    client.post("/collections/mixed/documents", json={"documents": documents})
    answer = client.get("/collections/mixed/map").json()
    assert (answer["documents"], answer["adapter"]) == (3, "sentence")
    assert {point["id"] for point in answer["points"]} == {"one", "two"}


def test_a_long_text_is_cut(client: TestClient) -> None:
    client.put("/collections/long", json={})
    text = "the cat sat on the mat. " * 40
    document = {"id": "long", "text": text, "language": "en"}
    client.post("/collections/long/documents", json={"documents": [document]})
    (point,) = client.get("/collections/long/map").json()["points"]
    assert point["text"] == f"{text[:299]}…"
    assert (point["x"], point["y"]) == (0, 0)


def test_an_empty_collection_has_an_empty_map(client: TestClient) -> None:
    client.put("/collections/empty", json={})
    assert client.get("/collections/empty/map").json() == {
        "documents": 0,
        "adapter": None,
        "variance": [0, 0],
        "points": [],
    }


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "many", "1.5", "", "²", "1" * 4_301])
def test_a_limit_out_of_bounds_is_refused(client: TestClient, limit: str) -> None:
    response = client.get("/collections/words/map", params={"limit": limit})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["param"] == "limit"
    assert "use an integer from 1 to 5000" in error["message"]


def test_an_unknown_collection_has_no_map(client: TestClient) -> None:
    assert client.get("/collections/none/map").status_code == 404


def test_the_demonstration_is_loaded_by_its_command(client: TestClient, tmp_path: Path) -> None:
    """What `polygrain demo` sends is taken; its way over HTTP is tested in tests/browser."""
    from service.demo import passages

    client.put("/collections/demo", json={})
    response = client.post("/collections/demo/documents", json={"documents": passages()})
    assert response.status_code == 200
    assert response.json()["inserted"] == len(passages())
