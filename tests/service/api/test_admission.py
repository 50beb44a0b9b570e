"""Keys, scopes and limits as callers of the whole application meet them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from service.api.documentation import Operation
from service.api.schemas import Status
from service.app import OPERATIONS, create_app
from service.encoding.encoder import Encoder
from service.security.keys import Key, Scope, digest_of, make_secret
from service.settings import Settings

SECRETS = {scope: make_secret(scope) for scope in ("read", "write", "admin")}
_LIMITED = make_secret("limited")


def _entries() -> str:
    scopes: tuple[Scope, ...] = ("read", "write", "admin")
    keys = [Key(scope, frozenset((scope,)), digest_of(SECRETS[scope])) for scope in scopes]
    limited = Key("limited", frozenset(("read",)), digest_of(_LIMITED), 2)
    return " ".join(key.entry() for key in [*keys, limited])


@pytest.fixture(scope="module")
def guarded(encoder: Encoder) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(keys=_entries()), encoder)) as client:
        yield client


def _embed(client: TestClient, key: str | None, header: str = "Authorization") -> Response:
    headers = {} if key is None else {header: f"Bearer {key}" if header[0] == "A" else key}
    return client.post("/embed", json={"inputs": "the cat"}, headers=headers)


def _error(response: Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def test_a_key_comes_in_either_header(guarded: TestClient) -> None:
    assert _embed(guarded, SECRETS["read"]).status_code == 200
    assert _embed(guarded, SECRETS["read"], "X-API-Key").status_code == 200
    lower = {"authorization": f"bearer  {SECRETS['read']} "}
    assert guarded.post("/embed", json={"inputs": "a"}, headers=lower).status_code == 200


def test_without_a_key_it_says_how_to_send_one(guarded: TestClient) -> None:
    error = _error(response := _embed(guarded, None), 401)
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert "Authorization: Bearer KEY" in error["message"]
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_wrong_key_is_refused_and_not_repeated(guarded: TestClient) -> None:
    wrong = make_secret("read")
    response = _embed(guarded, wrong)
    assert "not known here" in _error(response, 401)["message"]
    assert wrong[8:] not in response.text


def test_a_wrong_scope_is_403_and_says_which_is_needed(guarded: TestClient) -> None:
    error = _error(_embed(guarded, SECRETS["write"]), 403)
    assert (error["type"], error["code"]) == ("permission_error", "missing_scope")
    assert "key write has the scopes write, and this needs read" in error["message"]
    headers = {"Authorization": f"Bearer {SECRETS['read']}"}
    swap = guarded.post("/admin/bundle", json={}, headers=headers)
    assert "needs admin" in _error(swap, 403)["message"]


def test_too_many_requests_are_429_with_the_time_to_wait(guarded: TestClient) -> None:
    assert [_embed(guarded, _LIMITED).status_code for _ in range(3)] == [200, 200, 429]
    response = _embed(guarded, _LIMITED)
    assert _error(response, 429)["code"] == "rate_limit_exceeded"
    assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert _embed(guarded, SECRETS["read"]).status_code == 200


def test_tokens_that_were_used_count(encoder: Encoder) -> None:
    settings = Settings(keys=_entries(), tokens_per_minute=10)
    with TestClient(create_app(settings, encoder)) as client:
        assert _embed(client, SECRETS["read"]).status_code == 200  # 4 tokens
        body = {"inputs": ["the cat sat on the mat"] * 3}
        headers = {"Authorization": f"Bearer {SECRETS['read']}"}
        assert client.post("/embed", json=body, headers=headers).status_code == 200
        error = _error(_embed(client, SECRETS["read"]), 429)
        assert "10 tokens a minute" in error["message"]


def test_the_log_names_the_key_and_holds_no_secret(
    guarded: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        _embed(guarded, SECRETS["read"])
        _embed(guarded, make_secret("read"))
    lines = [r.getMessage() for r in caplog.records if r.name == "service.telemetry"]
    assert lines[0].endswith(" key=read")
    assert lines[1].endswith(" key=-")
    assert "pg_read_" not in caplog.text


def test_probes_are_open_and_all_else_asks_for_a_key(guarded: TestClient) -> None:
    for operation in OPERATIONS:
        path = operation.path.replace("{model}", "tiny")
        response = guarded.request(operation.method, path)
        if operation.needs == "open":
            assert response.status_code not in (401, 403), path
        else:
            assert response.status_code == 401, path


def test_what_each_operation_needs() -> None:
    needs = {operation.path: operation.needs for operation in OPERATIONS}
    reading = ("/embed", "/similarity", "/align", "/v1/embeddings", "/tei/embed", "/info")
    assert {needs[path] for path in (*reading, "/tei", "/tei/similarity", "/metrics")} == {"read"}
    assert {path for path, scope in needs.items() if scope == "admin"} == {"/admin/bundle"}
    assert {needs["/livez"], needs["/readyz"], needs["/tei/health"]} == {"open"}


def test_an_operation_that_says_nothing_is_closed() -> None:
    async def handler(request: object) -> Any:  # noqa: ANN401
        raise AssertionError

    assert Operation("POST", "/x", handler, "x", Status).needs == "write"
    assert Operation("GET", "/x", handler, "x", Status).needs == "read"


def test_metrics_may_be_opened_alone(encoder: Encoder) -> None:
    settings = Settings(keys=_entries(), open_metrics=True)
    with TestClient(create_app(settings, encoder)) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/info").status_code == 401


def test_browsers_of_other_origins_are_not_served_by_default(encoder: Encoder) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    with TestClient(create_app(Settings(), encoder)) as client:
        response = client.options("/embed", headers=asked)
        assert response.status_code == 405
        assert "access-control-allow-origin" not in response.headers


def test_the_origins_of_the_settings_are_served(encoder: Encoder) -> None:
    settings = Settings(cors_origins="https://example.org, http://localhost:3000")
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization",
    }
    with TestClient(create_app(settings, encoder)) as client:
        for origin, status in (("http://localhost:3000", 200), ("https://evil.example", 400)):
            preflight = client.options("/embed", headers={**asked, "Origin": origin})
            assert preflight.status_code == status
        answer = client.post(
            "/embed", json={"inputs": "a"}, headers={"Origin": "https://example.org"}
        )
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        other = client.post(
            "/embed", json={"inputs": "a"}, headers={"Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers
