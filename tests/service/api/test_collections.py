"""Collections over HTTP, against the tiny model computed a second time."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.api.collection_schemas import SearchRequest
from service.app import create_app
from service.encoding.encoder import Encoder
from service.retrieval.collection import Collection
from service.settings import Settings
from tests.tiny_bundle import DIMENSION, WEIGHTS, expected_embedding

DOCS = (Path(__file__).parents[3] / "docs" / "collections.md").read_text(encoding="utf-8")
SENTENCES = ["the cat sat on the mat.", "le chat.", "the big red dog sat.", "hund, katze."]


@pytest.fixture(scope="module")
def client(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    with TestClient(create_app(settings, encoder)) as client:
        yield client


_names = itertools.count()


class Api:
    """One collection's paths."""

    def __init__(self, client: TestClient, **settings: Any) -> None:  # noqa: ANN401
        self.client = client
        self.path = f"/collections/c{next(_names)}"
        self.ok("PUT", "", settings)

    def ask(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
        return self.client.request(method, self.path + path, json=body)

    def ok(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
        response = self.ask(method, path, body)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, status: int, method: str, path: str, body: Any = None) -> dict[str, Any]:  # noqa: ANN401
        response = self.ask(method, path, body)
        assert response.status_code == status, response.text
        error: dict[str, Any] = response.json()["error"]
        return error

    def write(self, *documents: dict[str, Any]) -> Any:  # noqa: ANN401
        return self.ok("POST", "/documents", {"documents": documents})

    def ids(self, **body: Any) -> list[list[str]]:  # noqa: ANN401
        results = self.ok("POST", "/search", body)["results"]
        return [[hit["id"] for hit in hits] for hits in results]


@pytest.fixture
def api(client: TestClient) -> Api:
    """An empty collection."""
    return Api(client)


def _documents(texts: list[str], **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    return [{"id": f"d{n}", "text": text, **more} for n, text in enumerate(texts)]


def test_documents_are_found_as_by_exact_search(api: Api) -> None:
    answer = api.write(*_documents(SENTENCES, granularity="sentence", language="en"))
    assert (answer["inserted"], answer["replaced"], answer["sequence"]) == (4, 0, 4)
    assert answer["items"][0] == {
        "id": "d0",
        "language": "en",
        "granularity": "sentence",
        "adapter": "sentence",
        "tokens": 9,
        "truncated": False,
    }
    queries = ["a cat sat on a mat.", "the dog."]
    body = {"queries": queries, "granularity": "sentence", "top_k": 3}
    results = api.ok("POST", "/search", body)["results"]
    rows = np.array([expected_embedding(text, "sentence") for text in SENTENCES])
    for query, hits in zip(queries, results, strict=True):
        scores = rows @ expected_embedding(query, "sentence")
        assert [hit["id"] for hit in hits] == [f"d{n}" for n in np.argsort(-scores)[:3]]
        np.testing.assert_allclose(
            [hit["score"] for hit in hits], np.sort(scores)[:0:-1], atol=1e-5
        )
        assert set(hits[0]) == {"id", "score", "text", "language", "granularity", "metadata"}


def test_ids_and_scores_alone_are_those_that_come_with_documents(api: Api) -> None:
    api.write(*({"id": f"d{n}", "text": f"the cat sat. {'red ' * n}"} for n in range(8)))
    body = {"queries": ["the red cat sat.", "the dog."], "top_k": 5}
    whole = api.ok("POST", "/search", body)["results"]
    assert [len(hits) for hits in whole] == [5, 5]
    bare = api.ok("POST", "/search", body | {"include": []})["results"]
    assert bare == [[{"id": hit["id"], "score": hit["score"]} for hit in hits] for hits in whole]


def test_each_document_is_compared_with_what_compares_with_it(api: Api) -> None:
    """Sentences and paragraphs compare in the tiny bundle, phrases with nothing else."""
    api.write(
        {"id": "p", "text": "big red cat", "granularity": "phrase"},
        {"id": "s", "text": "the cat sat.", "granularity": "sentence"},
        {"id": "g", "text": "the cat. the dog.", "granularity": "paragraph"},
    )
    query = "the red cat sat."
    (hits,) = api.ok("POST", "/search", {"queries": query, "include": ["adapter"]})["results"]
    for hit in hits:
        text, adapter = {"p": ("big red cat", "phrase"), "s": ("the cat sat.", "sentence")}.get(
            hit["id"], ("the cat. the dog.", "paragraph")
        )
        asked_by = "phrase" if adapter == "phrase" else "sentence"
        cosine = expected_embedding(text, adapter) @ expected_embedding(query, asked_by)
        assert hit["adapter"] == adapter
        assert abs(hit["score"] - cosine) < 1e-5
    error = api.refused(409, "POST", "/search", {"queries": query, "granularity": "sentence"})
    assert error["code"] == "not_comparable"
    assert "adapter phrase" in error["message"]
    narrow = {"queries": query, "granularity": "sentence", "granularities": ["sentence"]}
    assert api.ids(**narrow) == [["s"]]


def test_a_collections_granularity_is_that_of_its_texts(client: TestClient) -> None:
    api = Api(client, granularity="paragraph")
    answer = api.write(
        {"id": "a", "text": "cat"}, {"id": "b", "text": "cat", "granularity": "auto"}
    )
    assert [each["granularity"] for each in answer["items"]] == ["paragraph", "phrase"]


def test_a_document_takes_the_place_of_one_with_its_id(api: Api) -> None:
    api.write({"id": "a/b c", "text": "cat", "metadata": {"n": 1}})
    answer = api.write(
        {"id": "a/b c", "text": "dog", "language": "fr", "metadata": {"é": [1, "2"]}}
    )
    assert (answer["inserted"], answer["replaced"]) == (0, 1)
    document = api.ok("GET", "/documents/a/b%20c?include=vector")
    vector = document.pop("vector")
    np.testing.assert_allclose(vector, expected_embedding("dog", "phrase"), atol=1e-6)
    assert document == {
        "id": "a/b c",
        "text": "dog",
        "language": "fr",
        "granularity": "phrase",
        "metadata": {"é": [1, "2"]},
        "adapter": "phrase",
    }
    assert api.ok("POST", "/count", {}) == {"count": 1}


def test_a_write_is_all_or_nothing(api: Api) -> None:
    error = api.refused(
        422,
        "POST",
        "/documents",
        {"documents": [{"id": "a", "text": "cat"}, {"id": "b", "text": " "}]},
    )
    assert error["param"] == "documents[1].text"
    assert api.ok("POST", "/count", {}) == {"count": 0}


_VECTOR = [1.0] + [0.0] * (DIMENSION - 1)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/documents", {"documents": []}, 422, "documents is an empty list"),
        ("/documents", {"documents": [{"id": "", "text": "a"}]}, 422, "documents[0].id is ''"),
        ("/documents", {"documents": [{"id": "a\n", "text": "a"}]}, 422, "a control character"),
        ("/documents", {"documents": [{"id": "a"}]}, 422, "field documents[0].text is missing"),
        (
            "/documents",
            {"documents": [{"id": "a", "text": "a", "lang": "de"}]},
            422,
            "unknown field documents[0].lang; the fields are id, text, language",
        ),
        (
            "/documents",
            {"documents": [{"id": "a", "text": "a"}, {"id": "a", "text": "b"}]},
            422,
            "documents[1] has the id 'a' of documents[0]",
        ),
        (
            "/documents",
            {"documents": [{"id": "a", "text": "a", "language": "German"}]},
            422,
            "documents[0].language is 'German'",
        ),
        (
            "/documents",
            {"documents": [{"id": "a", "text": "a", "metadata": {"x": "y" * 70_000}}]},
            413,
            "documents[0].metadata has 70008 bytes; at most 65536",
        ),
        (
            "/documents",
            {"documents": [{"id": str(n), "text": "a"} for n in range(2_049)]},
            413,
            "documents has 2049 items; at most 2048",
        ),
        ("/documents/delete", {}, 422, "send exactly one of ids and filter"),
        ("/documents/delete", {"ids": [], "filter": {}}, 422, "exactly one of ids and filter"),
        ("/search", {}, 422, "send exactly one of queries and vectors"),
        ("/search", {"queries": []}, 422, "queries is an empty list"),
        ("/search", {"queries": " "}, 422, "queries[0] is ' '"),
        ("/search", {"vectors": []}, 422, "vectors is an empty list"),
        (
            "/search",
            {"vectors": [[1.0]]},
            422,
            f"vectors[0] has 1 dimensions; the collection has {DIMENSION}",
        ),
        ("/search", {"vectors": [[0.0] * DIMENSION]}, 422, "vectors[0] has length 0.0"),
        (
            "/search",
            {"vectors": [_VECTOR], "granularity": "phrase"},
            422,
            "granularity is of queries",
        ),
        ("/search", {"queries": "a", "adapter": "phrase"}, 422, "are of vectors, not of queries"),
        (
            "/search",
            {"vectors": [_VECTOR], "adapter": "x"},
            422,
            "adapter is 'x'; tiny 0.1.0 has phrase",
        ),
        ("/search", {"vectors": [_VECTOR], "version": "1.0.0"}, 422, "is given without adapter"),
        ("/search", {"queries": "a", "top_k": 0}, 422, "top_k is 0"),
        ("/search", {"queries": "a", "languages": []}, 422, "languages is a list"),
        (
            "/search",
            {"queries": "a", "score": "dot"},
            422,
            "score is 'dot'; use one of cosine, csls",
        ),
        ("/search", {"queries": "a", "include": ["id"]}, 422, "include[0] is 'id'; use one of"),
        (
            "/search",
            {"queries": "a", "filter": {"field": "x", "eq": 1}},
            422,
            "filter.field is 'x'",
        ),
        ("/scroll", {"cursor": "x"}, 422, "cursor is 'x'; send the cursor of an answer"),
        ("/vectors", {"documents": [{"id": "a", "vector": "x!"}]}, 422, "is not base64"),
        (
            "/rebuild",
            {"index": {"kind": "tree"}},
            422,
            "index.kind is 'tree'; use one of auto, flat",
        ),
    ],
)
def test_what_is_wrong_is_said(
    api: Api, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    assert said in api.refused(status, "POST", path, body)["message"]


def test_numbers_that_are_not_json_are_refused(api: Api) -> None:
    for number in ("NaN", "1e999"):
        body = '{"documents": [{"id": "a", "text": "a", "metadata": {"x": [N]}}]}'
        body = body.replace("N", number)
        response = api.client.post(
            f"{api.path}/documents", content=body, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 422, response.text
        assert "documents[0].metadata holds NaN" in response.json()["error"]["message"]


def test_filters_narrow_searching_counting_listing_and_deleting(api: Api) -> None:
    for n, text in enumerate(SENTENCES):
        api.write(
            {"id": f"d{n}", "text": text, "language": "en" if n % 2 else "fr", "metadata": {"n": n}}
        )
    high = {"field": "metadata.n", "range": {"gte": 2}}
    (ids,) = api.ids(queries="cat.", filter=high)
    assert sorted(ids) == ["d2", "d3"]
    assert api.ids(queries="cat.", filter=high, languages=["en"]) == [["d3"]]
    assert api.ok("POST", "/count", {"filter": high, "languages": ["fr"]}) == {"count": 1}
    listed = api.ok("POST", "/scroll", {"filter": high, "include": []})
    assert listed == {"documents": [{"id": "d2"}, {"id": "d3"}], "cursor": None}
    assert api.ok("POST", "/documents/delete", {"filter": high}) == {"deleted": 2}
    assert api.ok("POST", "/documents/delete", {"ids": ["d0", "d0", "other"]}) == {"deleted": 1}
    (ids,) = api.ids(queries="cat.")
    assert ids == ["d1"]
    assert api.refused(404, "GET", "/documents/d0")["param"] == "id"


def test_scrolling_tells_all_of_them_once(api: Api) -> None:
    api.write(*_documents([f"cat {n}" for n in range(10)]))
    api.write({"id": "d3", "text": "dog"})
    seen: list[str] = []
    cursor = None
    while True:
        page = api.ok("POST", "/scroll", {"limit": 3, "cursor": cursor, "include": ["vector"]})
        assert all(len(each["vector"]) == DIMENSION for each in page["documents"])
        seen += [each["id"] for each in page["documents"]]
        if (cursor := page["cursor"]) is None:
            break
    assert seen == [f"d{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8, 9, 3)]


def test_min_score_and_balance(api: Api) -> None:
    api.write(
        *_documents(SENTENCES[:3], language="en"),
        {"id": "f", "text": SENTENCES[3], "language": "fr"},
    )
    (hits,) = api.ok("POST", "/search", {"queries": SENTENCES[0]})["results"]
    least = hits[1]["score"]
    assert api.ids(queries=SENTENCES[0], min_score=least) == [[hit["id"] for hit in hits[:2]]]
    (two,) = api.ids(queries=SENTENCES[0], top_k=2, balance=True)
    assert two == ["d0", "f"]


def test_an_empty_collection_finds_nothing(api: Api) -> None:
    assert api.ids(queries=["cat", "dog"]) == [[], []]
    assert api.ids(vectors=[_VECTOR], balance=True, score="csls") == [[]]
    assert api.client.get(f"{api.path}/export").content == b""


def test_own_vectors_compare_with_own_vectors_alone(client: TestClient) -> None:
    api = Api(client, dimensions=3)
    row = np.array([0, 2, 0], "<f4")
    answer = api.ok(
        "POST",
        "/vectors",
        {
            "documents": [
                {"id": "a", "vector": [3, 0, 0], "text": "the cat sat on the mat, it did."},
                {"id": "b", "vector": base64.b64encode(row.tobytes()).decode()},
            ]
        },
    )
    assert answer == {"inserted": 2, "replaced": 0, "sequence": 2}
    (hits,) = api.ok("POST", "/search", {"vectors": [[0, 1, 0.1]], "include": ["vector"]})[
        "results"
    ]
    assert [hit["id"] for hit in hits] == ["b", "a"]
    assert hits[0]["vector"] == [0, 1, 0]
    assert api.ok("GET", "/documents/b")["language"] == "und"
    error = api.refused(409, "POST", "/search", {"queries": "cat"})
    assert "vectors of the caller's own vectors" in error["message"]
    error = api.refused(409, "POST", "/documents", {"documents": [{"id": "c", "text": "cat"}]})
    assert "the collection has vectors of 3 dimensions, and tiny 0.1.0 makes 8" in error["message"]
    assert api.refused(409, "POST", "/search", {"vectors": [[0, 1, 0]], "adapter": "phrase"})


def test_vectors_of_ours_come_back_as_they_went(api: Api, client: TestClient) -> None:
    api.write(*_documents(SENTENCES, metadata={"n": 1}))
    lines = [
        json.loads(line) for line in client.get(f"{api.path}/export?include=vector").iter_lines()
    ]
    copy = Api(client)
    for line in lines:
        made_by = {name: line.pop(name) for name in ("bundle", "version", "adapter")}
        copy.ok("POST", "/vectors", {"documents": [line], **made_by})
    assert client.get(f"{copy.path}/export?include=vector").content == (
        client.get(f"{api.path}/export?include=vector").content
    )
    search = {"queries": SENTENCES}
    assert api.ok("POST", "/search", search) == copy.ok("POST", "/search", search)
    assert set(json.loads(client.get(f"{api.path}/export").text.splitlines()[0])) == {
        "id",
        "text",
        "language",
        "granularity",
        "metadata",
    }


def test_vectors_of_another_version_are_refused_until_embedded_anew(api: Api) -> None:
    old = [
        {"id": f"d{n}", "vector": _VECTOR, "text": text, "granularity": "sentence"}
        for n, text in enumerate(SENTENCES * 100)
    ]
    made_by = {"adapter": "sentence", "version": "0.0.9"}
    api.ok("POST", "/vectors", {"documents": old, **made_by})
    api.ok("POST", "/vectors", {"documents": [{"id": "bare", "vector": _VECTOR}], **made_by})
    assert [each["current"] for each in api.ok("GET", "")["vectors"]] == [False]
    error = api.refused(409, "POST", "/search", {"queries": "cat."})
    assert "vectors of tiny 0.0.9, adapter sentence" in error["message"]
    assert 'POST …/rebuild {"embed": true}' in error["message"]
    answer = api.ok("POST", "/rebuild", {"embed": True})
    assert answer["embedded"] == 400
    api.ok("POST", "/documents/delete", {"ids": ["bare"]})
    (hits,) = api.ok(
        "POST", "/search", {"queries": SENTENCES[2], "granularity": "sentence", "top_k": 1}
    )["results"]
    assert hits[0]["text"] == SENTENCES[2]
    assert abs(hits[0]["score"] - 1) < 1e-5
    assert api.ok("POST", "/rebuild", {"embed": True})["embedded"] == 0


def test_vectors_of_two_makers_need_a_name(api: Api) -> None:
    api.write({"id": "a", "text": "cat", "granularity": "phrase"})
    assert api.ids(vectors=[_VECTOR]) == [["a"]]
    api.write({"id": "b", "text": "the cat sat.", "granularity": "sentence"})
    assert api.refused(409, "POST", "/search", {"vectors": [_VECTOR]})["code"] == "not_comparable"
    named = {"vectors": [_VECTOR], "adapter": "paragraph", "granularities": ["sentence"]}
    assert api.ids(**named) == [["b"]]


def test_languages_are_told_from_texts(api: Api) -> None:
    answer = api.write(
        {"id": "a", "text": "Die Bibliothek öffnet um neun Uhr am Morgen."},
        {"id": "b", "text": "La bibliothèque ouvre à neuf heures du matin."},
        {"id": "c", "text": "猫", "language": "zh-Hant"},
        {"id": "d", "text": "123 456"},
    )
    languages = [each["language"] for each in answer["items"]]
    assert languages[:3] == ["de", "fr", "zh-Hant"]
    assert api.ok("GET", "")["languages"].keys() == set(languages)


def test_making_describing_listing_and_deleting(client: TestClient) -> None:
    api = Api(client, index={"kind": "flat"})
    api.write({"id": "a", "text": "cat"})
    info = api.ok("PUT", "", {})
    assert info == api.ok("GET", "")
    assert (info["documents"], info["dimensions"], info["index"]["kind"]) == (1, DIMENSION, "flat")
    (space,) = info["vectors"]
    assert (space["adapter"], space["documents"], space["index"]["size"]) == ("phrase", 1, 1)
    assert api.refused(409, "PUT", "", {"dimensions": 3})["code"] == "conflict"
    assert (
        api.ok("POST", "/rebuild", {"index": {"recall": 0.9}})["collection"]["index"]["recall"]
        == 0.9
    )
    name = api.path.removeprefix("/collections/")
    assert name in client.get("/collections").json()["collections"]
    assert api.ok("DELETE", "") == {"deleted": 1}
    assert name not in client.get("/collections").json()["collections"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/export"), ("GET", "/documents/a")):
        assert "there is no collection" in api.refused(404, method, path)["message"]
    api.ok("PUT", "", {})
    assert api.ids(queries="cat") == [[]]
    assert client.put("/collections/A", json={}).json()["error"]["param"] == "name"


def test_a_method_that_a_path_does_not_take_is_told_with_those_it_takes(client: TestClient) -> None:
    response = client.patch("/collections/x")
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}


def test_a_full_disk_is_a_507_and_reading_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.write({"id": "a", "text": "cat"})
    opened = Collection.upsert

    def on_full_disk(self: Collection, *given: Any) -> Any:  # noqa: ANN401
        writer = self._store._database._writer
        writer.execute("PRAGMA max_page_count = 1")
        try:
            return opened(self, *given)
        finally:
            writer.execute("PRAGMA max_page_count = 1000000")

    monkeypatch.setattr(Collection, "upsert", on_full_disk)
    big = [{"id": f"d{n}", "text": "cat " * 5_000} for n in range(3)]
    error = api.refused(507, "POST", "/documents", {"documents": big})
    assert (error["type"], error["code"]) == ("storage_error", "storage_full")
    monkeypatch.undo()
    assert api.ids(queries="cat") == [["a"]]
    api.write({"id": "b", "text": "dog"})


def test_a_state_folder_that_cannot_be_made_is_a_503(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with TestClient(create_app(Settings(state_dir=tmp_path / "file"), encoder)) as client:
        response = client.get("/collections")
        assert response.status_code == 503
        assert "POLYGRAIN_STATE_DIR" in response.json()["error"]["message"]
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_collections_outlive_the_server(encoder: Encoder, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with TestClient(create_app(settings, encoder)) as client:
        api = Api(client)
        api.write(*_documents(SENTENCES))
        before = api.ok("POST", "/search", {"queries": SENTENCES})
    assert list(tmp_path.glob("collections/*/*.index"))
    with TestClient(create_app(settings, encoder)) as client:
        after = client.post(f"{api.path}/search", json={"queries": SENTENCES}).json()
        assert after == before


def test_a_server_without_collections_makes_no_folder(encoder: Encoder, tmp_path: Path) -> None:
    with TestClient(create_app(Settings(state_dir=tmp_path / "state"), encoder)) as client:
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_answers_have_the_fields_that_the_document_promises(api: Api, client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    written = api.write({"id": "a", "text": "cat"})
    search = api.ok("POST", "/search", {"queries": "cat"})
    info = api.ok("GET", "")
    for answer, name in (
        (written, "WrittenResponse"),
        (written["items"][0], "WrittenItem"),
        (search, "SearchResponse"),
        (search["results"][0][0], "SearchHit"),
        (info, "CollectionInfo"),
        (info["vectors"][0], "SpaceInfo"),
        (info["vectors"][0]["index"], "IndexInfo"),
        (api.ok("POST", "/scroll", {}), "ScrollResponse"),
        (api.ok("POST", "/count", {}), "Count"),
        (api.ok("POST", "/rebuild", {}), "RebuildResponse"),
        (client.get("/collections").json(), "CollectionList"),
    ):
        assert set(answer) == set(schemas[name]["properties"]), name


def test_the_documents_table_of_search_is_that_of_its_fields() -> None:
    table = DOCS.split("## Search")[1].split("\n\n")[1]
    listed = set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines())))
    assert listed == set(SearchRequest.model_fields)


def test_the_weights_tell_adapters_apart() -> None:
    """Else the tests above would pass whatever adapter reads a text."""
    assert np.abs(WEIGHTS["up"][2] - WEIGHTS["up"][0]).max() > 0.1


def test_metrics_tell_what_the_audit_of_each_collection_found(client: TestClient) -> None:
    api = Api(client)
    api.write({"id": "a", "text": SENTENCES[0]})
    api.ok("POST", "/search", {"queries": [SENTENCES[0]]})
    name = api.path.rpartition("/")[2]
    assert f'polygrain_index_recall{{collection="{name}"}} 1.0' in client.get("/metrics").text
    api.ok("DELETE", "")
    assert name not in client.get("/metrics").text
