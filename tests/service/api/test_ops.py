"""Probes, /info, /docs, and what the OpenAPI document promises."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models.bundle import Bundle
from service.api.align_schemas import AlignRequest
from service.api.schemas import EmbedRequest, RequestModel, SimilarityRequest
from service.app import create_app
from service.encoding.encoder import Encoder, Engine, Unit
from service.settings import Settings
from tests.fakes import PATIENCE_S, gated_encoder

ROOT = Path(__file__).parents[3]


def test_probes(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_before_startup_the_process_lives_and_is_not_ready(encoder: Encoder) -> None:
    client = TestClient(create_app(Settings(), encoder))
    assert client.get("/livez").status_code == 200
    for response in (client.get("/readyz"), client.post("/embed", json={"inputs": "a"})):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "not_ready"


def test_after_shutdown_it_is_not_ready(encoder: Encoder) -> None:
    app = create_app(Settings(), encoder)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
    assert TestClient(app).get("/readyz").status_code == 503


def test_shutdown_ends_what_was_accepted_first(tiny_bundle: Bundle) -> None:
    encoder, session = gated_encoder(tiny_bundle)

    async def open_once_stopping(engine: Engine) -> None:
        while engine.ready:
            await asyncio.sleep(0)
        session.gate.set()

    async def scenario() -> None:
        # Behind the gate the model would hold the event loop, too.
        app = create_app(Settings(lone_tokens=0), encoder)
        async with app.router.lifespan_context(app):
            engine = app.state.service.engine
            accepted = asyncio.create_task(engine.encode([Unit("the cat", "inputs")]))
            assert await asyncio.to_thread(session.entered.wait, PATIENCE_S)
            opener = asyncio.create_task(open_once_stopping(engine))
        assert accepted.done()
        assert len((await accepted).vectors) == 1
        await opener

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


def test_info_tells_the_bundle_and_the_limits(client: TestClient) -> None:
    info = client.get("/info").json()
    assert (info["name"], info["version"], info["dimensions"]) == ("tiny", "0.1.0", 8)
    assert info["dimensions_allowed"] == [8]
    assert info["precision"] == "float32"
    assert info["adapters"][0] == {"name": "phrase", "granularity": "phrase", "max_tokens": 8}
    assert info["routing"]["paragraph"] == "paragraph"
    assert info["comparable"] == [["sentence", "paragraph"]]
    assert info["limits"] == {
        "max_items": 2_048,
        "max_item_characters": 100_000,
        "max_body_bytes": 16 * 1024 * 1024,
        "queue_tokens": 500_000,
    }


def test_info_tells_how_the_queue_has_done(client: TestClient) -> None:
    before = client.get("/info").json()["queue"]
    assert (before["rows"], before["batches"], before["tokens_per_second"]) == (0, 0, None)
    client.post("/embed", json={"inputs": ["cat", "the dog sat"]})
    after = client.get("/info").json()["queue"]
    assert (after["rows"], after["waiting_rows"], after["held_tokens"]) == (2, 0, 0)
    assert 1 <= after["batches"] <= 2
    assert after["tokens_per_second"] > 0
    assert 0 <= after["padding_share"] < 1


def test_docs_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)|url: '([^']+)'""", page.text)
    paths = [one or other for one, other in loaded]
    assert len(paths) >= 4
    for path in paths:
        assert path.startswith("/")
        assert client.get(path).status_code == 200
    assert "http://" not in page.text
    assert not re.search(r"https://(?!fastapi)", page.text)


def _references(node: Any) -> list[str]:  # noqa: ANN401
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _references(value)]
    return []


def test_the_openapi_document_shows_requests_answers_and_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for reference in _references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    models: dict[str, type[RequestModel]] = {
        "/embed": EmbedRequest,
        "/similarity": SimilarityRequest,
        "/align": AlignRequest,
    }
    for path, model in models.items():
        operation = document["paths"][path]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        expected = model.model_json_schema()
        for field in expected["properties"].values():
            if field.get("default", ...) is None:  # FastAPI leaves a default of null out
                del field["default"]
        assert operation["summary"]
        assert operation["description"]
        assert schema == expected
        assert set(schema["properties"]) == set(model.model_fields)
        answers = operation["responses"]["200"]["content"]
        binary = {"application/octet-stream"} if path == "/embed" else set()
        assert set(answers) == {"application/json"} | binary
        for status in ("400", "413", "415", "422", "429", "500", "503"):
            error = operation["responses"][status]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/ErrorBody"}


def test_fastapi_is_loaded_for_its_documentation_alone(tiny_bundle: Bundle) -> None:
    program = f"""
import sys
from pathlib import Path
from starlette.testclient import TestClient
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings

encoder = Encoder.open(Path({str(tiny_bundle.path)!r}), threads=1)
with TestClient(create_app(Settings(), encoder)) as client:
    assert client.post("/embed", json={{"inputs": "a"}}).status_code == 200
    assert client.get("/readyz").status_code == 200
    print("fastapi" in sys.modules)
    assert client.get("/openapi.json").status_code == 200
    print("fastapi" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.split() == ["False", "True"]


def test_answers_have_the_fields_that_the_document_promises(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    lists = {"source": ["a"], "target": ["b"]}
    embed = client.post("/embed", json={"inputs": "a"}).json()
    similarity = client.post("/similarity", json={"sources": ["a"], "targets": ["b"]}).json()
    align = client.post("/align", json=lists).json()
    for answer, name in (
        (embed, "EmbedResponse"),
        (embed["data"][0], "Embedding"),
        (similarity, "SimilarityResponse"),
        (similarity["sources"][0], "TextFacts"),
        (align, "AlignResponse"),
        (align["pairs"][0], "AlignedPair"),
        (client.get("/info").json(), "Info"),
    ):
        schema = schemas[name]
        assert set(schema["required"]) <= set(answer) <= set(schema["properties"]), name


def test_each_request_is_one_line_without_its_texts(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ids = {"X-Request-ID": "trace-1"}
        response = client.post("/embed", json={"inputs": ["secretword", "x"]}, headers=ids)
        client.post("/embed", json={"inputs": ["secretword\0"]})
        client.post("/embed", json={"inputs": "a", "granularity": "secretword"})
    assert response.headers["X-Request-ID"] == "trace-1"
    lines = [r.getMessage() for r in caplog.records if r.name == "service.telemetry"]
    assert len(lines) == 3
    assert re.fullmatch(
        r"request id=trace-1 method=POST path=/embed status=200 duration_ms=[\d.]+ "
        r"items=2 tokens=15 key=-",
        lines[0],
    )
    assert "status=422" in lines[1]
    assert "items=1 tokens=0" in lines[1]
    assert "secretword" not in caplog.text


@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "a\tb", "ü"])
def test_a_request_id_that_is_not_plain_is_replaced(client: TestClient, offered: str) -> None:
    response = client.get("/livez", headers=[(b"X-Request-ID", offered.encode())])
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_a_path_with_line_breaks_stays_on_one_line(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/x%0aINFO%20forged")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "service.telemetry"]
    assert "\n" not in line
    assert "path=/x%0AINFO%20forged " in line


def test_an_unforeseen_fault_is_a_500_with_an_id_and_no_details(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("inner detail")

    with TestClient(create_app(Settings(), encoder), raise_server_exceptions=False) as client:
        monkeypatch.setattr("service.api.embed._units", broken)
        response = client.post("/embed", json={"inputs": "a"}, headers={"X-Request-ID": "trace-2"})
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "internal_error"
        assert "trace-2" in response.json()["error"]["message"]
        assert response.headers["X-Request-ID"] == "trace-2"
        assert "inner detail" not in response.text
        monkeypatch.undo()
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
