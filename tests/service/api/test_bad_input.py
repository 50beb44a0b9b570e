"""Whatever is wrong with a request, one clear 4xx of one shape, and the service goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Response
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.api.schemas import EmbedRequest
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _the_service_goes_on(client: TestClient) -> Iterator[None]:
    yield
    assert client.post("/embed", json={"inputs": "the cat"}).status_code == 200


def _refused(response: Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert list(error) == ["type", "code", "message", "param"]
    assert len(error["message"]) < 600
    return error


FIELDS = "inputs, granularity, adapter, normalize, long_text, dimensions, encoding"


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "inputs", f"field inputs is missing; the fields are {FIELDS}"),
        ({"inputs": "a", "x" * 5_000: 1}, "x" * 100 + "…", f"the fields are {FIELDS}"),
        ({"inputs": "a", "input": 1}, "input", "unknown field input; the fields are"),
        ({"inputs": "a", "dimensions": 4}, "dimensions", "dimensions is 4; the bundle has all of"),
        ({"inputs": "a", "dimensions": 0}, "dimensions", "not made to be cut: leave the field out"),
        ({"inputs": "a", "dimensions": "4"}, "dimensions", "a string; it must be an integer"),
        ({"inputs": 5}, "inputs", "inputs is an integer; it must be a string, or a list of them"),
        ({"inputs": None}, "inputs", "inputs is null; it must be a string"),
        ({"inputs": {"a": 1}}, "inputs", "inputs is an object; it must be a string"),
        ({"inputs": ["a", 5]}, "inputs[1]", "inputs[1] is an integer; it must be a string"),
        ({"inputs": [["a"]]}, "inputs[0]", "inputs[0] is a list; it must be a string"),
        ({"inputs": []}, "inputs", "inputs is an empty list; send at least one text"),
        ({"inputs": ""}, "inputs", "inputs is '': an empty text has no vector"),
        ({"inputs": ["a", " \n"]}, "inputs[1]", "an empty text has no vector"),
        ({"inputs": ["a", "b\0c"]}, "inputs[1]", "NUL character"),
        ({"inputs": "a", "granularity": "word"}, "granularity", "use one of auto, phrase, sent"),
        ({"inputs": "a", "granularity": "y" * 9_999}, "granularity", "use one of auto, phrase"),
        ({"inputs": "a", "granularity": 3}, "granularity", "granularity is 3; use one of auto"),
        ({"inputs": ["a"], "granularity": ["chapter"]}, "granularity[0]", "is 'chapter'; use one"),
        ({"inputs": ["a", "b"], "granularity": ["auto"]}, "granularity", "1 values for 2 inputs"),
        ({"inputs": "a", "adapter": "none"}, "adapter", "use one of phrase, sentence, paragraph"),
        ({"inputs": "a", "adapter": "word"}, "adapter", "use one of phrase, sentence, paragraph"),
        (
            {"inputs": "a", "adapter": "phrase", "granularity": "phrase"},
            "granularity",
            "adapter and granularity are both given",
        ),
        (
            {"inputs": "a", "encoding": "int4"},
            "encoding",
            "encoding is 'int4'; use one of float, base64, int8, binary",
        ),
        (
            {"inputs": "a", "encoding": "int8", "normalize": False},
            "encoding",
            "encoding is 'int8' and normalize is false; the scale of int8 is made for vectors of",
        ),
        ({"inputs": "a", "long_text": "cut"}, "long_text", "use one of window, truncate, error"),
        ({"inputs": "a", "normalize": 1}, "normalize", "an integer; it must be true or false"),
        ({"inputs": "a", "normalize": "true"}, "normalize", "a string; it must be true or false"),
        ([], None, f"the body is a list; send an object with {FIELDS}"),
        ("text", None, "the body is a string; send an object"),
        (None, None, "the body is null; send an object"),
    ],
)
def test_a_value_that_is_not_allowed_is_422_and_says_what_is(
    client: TestClient, body: object, param: str | None, message: str
) -> None:
    content = json.dumps(body).encode()  # and not json=body, which sends nothing for None
    error = _refused(client.post("/embed", content=content, headers=JSON), 422)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert error["param"] == param
    assert message in error["message"]


def test_a_number_of_dimensions_that_was_not_trained_is_422(cut_client: TestClient) -> None:
    for dimensions in (-1, 2, 4, 9):
        body = {"inputs": "a", "dimensions": dimensions}
        error = _refused(cut_client.post("/embed", json=body), 422)
        assert error["param"] == "dimensions"
        assert error["message"] == f"dimensions is {dimensions}; use one of 3, 5, 8"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"inputs": "a"',
        b'{"inputs": "a"} trailing',
        b"{'inputs': 'a'}",
        b'{"inputs": "\xff\xfe"}',
        b'{"inputs": "a\x00b"}',
        b'\x00{"inputs": "a"}',
        b'{"inputs": "\\ud83d"}',
        b'{"inputs": "\\ude00 low first"}',
        b'{"inputs": "\\ud83d and text"}',
        b'{"inputs": "\xed\xa0\x80"}',
        b'{"inputs": ' + b"[" * 100_000,
        '{"inputs": "a"}'.encode("utf-16"),
    ],
)
def test_what_is_not_json_in_utf8_is_400(client: TestClient, body: bytes) -> None:
    error = _refused(client.post("/embed", content=body, headers=JSON), 400)
    assert error["code"] == "malformed_json"
    assert "not JSON in UTF-8" in error["message"]
    assert error["param"] is None


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\ude00 low first", b"\\ud83d and text"])
def test_half_a_surrogate_pair_is_named(client: TestClient, half: bytes) -> None:
    response = client.post("/embed", content=b'{"inputs": "' + half + b'"}', headers=JSON)
    assert "\\ud800 to \\udfff stand in pairs" in _refused(response, 400)["message"]


def test_an_escaped_nul_and_a_surrogate_pair_are_what_they_stand_for(client: TestClient) -> None:
    nul = client.post("/embed", content=b'{"inputs": "a\\u0000"}', headers=JSON)
    assert "NUL" in _refused(nul, 422)["message"]
    smile = client.post("/embed", content=b'{"inputs": "\\ud83d\\ude00"}', headers=JSON)
    assert smile.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
def test_a_body_not_declared_as_json_is_415(client: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    error = _refused(client.post("/embed", content=b'{"inputs": "a"}', headers=headers), 415)
    assert "Content-Type: application/json" in error["message"]


def test_a_body_of_millions_of_wrong_items_costs_one_error(client: TestClient) -> None:
    body = b'{"inputs": [' + b"1," * 2_000_000 + b"1]}"
    assert _refused(client.post("/embed", content=body, headers=JSON), 422)["param"] == "inputs[0]"
    with pytest.raises(ValidationError) as caught:
        EmbedRequest.model_validate_json(b'{"inputs": [1, 1, 1]}')
    assert caught.value.error_count() == 1


def test_a_hundred_thousand_texts_are_413(client: TestClient) -> None:
    error = _refused(client.post("/embed", json={"inputs": ["a"] * 100_000}), 413)
    assert "has 100000 texts; at most 2048 are allowed (POLYGRAIN_MAX_ITEMS)" in error["message"]
    assert error["param"] == "inputs"


def test_a_text_of_two_megabytes_is_413_by_name(client: TestClient) -> None:
    error = _refused(client.post("/embed", json={"inputs": ["a", "a" * 2_000_000]}), 413)
    assert "inputs[1] has 2000000 characters; at most 100000 are allowed" in error["message"]
    assert error["param"] == "inputs[1]"


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_413(encoder: Encoder, chunked: bool) -> None:
    settings = Settings(max_body_bytes=1_000)
    body = b'{"inputs": "' + b"a" * 2_000 + b'"}'
    content = iter([body[:500], body[500:]]) if chunked else body
    with TestClient(create_app(settings, encoder)) as client:
        error = _refused(client.post("/embed", content=content, headers=JSON), 413)
        assert "larger than 1000 bytes (POLYGRAIN_MAX_BODY_BYTES)" in error["message"]
        just = b'{"inputs": "a"}'.ljust(1_000)
        assert client.post("/embed", content=just, headers=JSON).status_code == 200


def test_more_tokens_than_the_queue_ever_holds_are_413(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(queue_tokens=100), encoder)) as client:
        texts = [f"{a} {b} cat" for a in "abcdefg" for b in "abcdefg"]
        error = _refused(client.post("/embed", json={"inputs": texts}), 413)
        assert "POLYGRAIN_QUEUE_TOKENS" in error["message"]


def test_limits_count_both_lists(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(max_items=3), encoder)) as client:
        for path, names in (
            ("/similarity", ("sources", "targets")),
            ("/align", ("source", "target")),
        ):
            fits = {names[0]: ["a"], names[1]: ["b", "c"]}
            assert client.post(path, json=fits).status_code == 200
            error = _refused(client.post(path, json={**fits, names[0]: ["a", "d"]}), 413)
            assert "has 4 texts" in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        ("/similarity", {"sources": ["a"]}, "targets", "field targets is missing"),
        ("/similarity", {"sources": [], "targets": ["a"]}, "sources", "sources is an empty list"),
        ("/similarity", {"sources": "a", "targets": ["a"]}, "sources", "is a string; it must be a"),
        ("/similarity", {"sources": ["a"], "targets": ["b", ""]}, "targets[1]", "empty text"),
        ("/similarity", {"sources": ["a"], "targets": ["b"], "k": 4}, "k", "unknown field k"),
        ("/align", {"source": ["a"], "target": []}, "target", "target is an empty list"),
        ("/align", {"source": ["a\0"], "target": ["b"]}, "source[0]", "NUL"),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "level": "x"},
            "level",
            "text, document, word",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "method": "argmax"},
            "method",
            "at level text use one of one_to_one, mutual, best, optimal",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "level": "document", "method": "best"},
            "method",
            "at level document use one of monotonic",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "level": "word", "score": "csls"},
            "score",
            "score is 'csls'; at level word use one of cosine",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b", "c"], "level": "word"},
            "target",
            "source has 1 sentences and target 2",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "level": "word", "k": 4},
            "k",
            "k means nothing at level word",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "max_merge": 2},
            "max_merge",
            "max_merge means nothing at level text",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "level": "document", "max_merge": 9},
            "max_merge",
            "less than or equal to 8",
        ),
        (
            "/align",
            {"source": "a. b.", "target": " \n", "level": "document"},
            "target",
            "target is blank; send a text with at least one sentence",
        ),
        (
            "/align",
            {"source": ["a"], "target": [], "level": "document"},
            "target",
            "target is an empty list",
        ),
        (
            "/align",
            {"source": ["a", " "], "target": ["b", "c"], "level": "word"},
            "source[1]",
            "an empty text",
        ),
        ("/align", {"source": [], "target": [], "level": "word"}, "source", "is an empty list"),
        ("/align", {"source": 1, "target": ["b"]}, "source", "a string, or a list of them"),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "min_probability": 0.5},
            "min_probability",
            "tiny 0.1.0 is not calibrated for anything; use threshold",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "min_probability": 1.5},
            "min_probability",
            "less than or equal to 1",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "languages": ["en"]},
            "languages",
            "at least 2",
        ),
        (
            "/align",
            {"source": ["a"], "target": ["b"], "languages": ["en", "English"]},
            "languages[1]",
            "pattern",
        ),
        ("/align", {"source": ["a"], "target": ["b"], "method": "x"}, "method", "one_to_one"),
        ("/align", {"source": ["a"], "target": ["b"], "score": "x"}, "score", "margin_distance, c"),
        ("/align", {"source": ["a"], "target": ["b"], "k": 0}, "k", "k is 0: input should be gr"),
        ("/align", {"source": ["a"], "target": ["b"], "k": 1001}, "k", "k is 1001: input should"),
        ("/align", {"source": ["a"], "target": ["b"], "k": 1.5}, "k", "an integer"),
        ("/align", {"source": ["a"], "target": ["b"], "threshold": "1"}, "threshold", "a number"),
        ("/align", {"source": ["a"], "target": ["b"], "granularity": ["auto"]}, "granularity", "a"),
    ],
)
def test_the_other_requests_are_checked_alike(
    client: TestClient, path: str, body: object, param: str, message: str
) -> None:
    error = _refused(client.post(path, json=body), 422)
    assert error["param"] == param
    assert message in error["message"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_threshold_that_is_not_finite_is_refused(client: TestClient, number: bytes) -> None:
    body = b'{"source": ["a"], "target": ["b"], "threshold": ' + number + b"}"
    response = client.post("/align", content=body, headers=JSON)
    assert _refused(response, 422)["param"] == "threshold"


def test_an_unknown_path_and_method_have_the_same_shape(client: TestClient) -> None:
    error = _refused(client.get("/nothing" + "x" * 3_000), 404)
    assert error["code"] == "not_found"
    assert "there is nothing at '/nothing" in error["message"]
    assert _refused(client.post("/embed/", json={"inputs": "a"}), 404)
    assert _refused(client.get("/docs/assets/none.js"), 404)
    assert _refused(client.get("/%ff%00%ed%a0%80"), 404)
    response = client.get("/embed")
    error = _refused(response, 405)
    assert error["message"] == "'/embed' does not take GET; use POST"
    assert response.headers["Allow"] == "POST"
