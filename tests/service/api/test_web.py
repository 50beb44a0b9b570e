"""The playground's files: served from memory, once each, and with nothing else let in."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from service.api.web import FILES

NAMES = sorted(path.name for path in FILES.iterdir() if path.is_file())


def test_the_root_is_the_page(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.content == (FILES / "index.html").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_sent_once_and_then_known(client: TestClient, name: str) -> None:
    response = client.get(f"/web/{name}")
    assert response.status_code == 200
    assert response.content == (FILES / name).read_bytes()
    kinds = {
        "css": "text/css",
        "html": "text/html",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
    assert response.headers["content-type"].split(";")[0] == kinds[name.rsplit(".", 1)[1]]
    known = {"If-None-Match": f'W/"other", {response.headers["etag"]}'}
    again = client.get(f"/web/{name}", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    assert client.get(f"/web/{name}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_two_files_have_two_tags(client: TestClient) -> None:
    tags = {client.get(f"/web/{name}").headers["etag"] for name in NAMES}
    assert len(tags) == len(NAMES)


def test_a_head_request_has_no_body(client: TestClient) -> None:
    response = client.head("/")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["etag"] == client.get("/").headers["etag"]


@pytest.mark.parametrize("name", ["none.js", "..%2Fapp.py", "%2e%2e", "web.css%00"])
def test_nothing_but_its_files_is_served(client: TestClient, name: str) -> None:
    response = client.get(f"/web/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_the_policy_lets_nothing_else_in(client: TestClient) -> None:
    policy = dict(
        part.split(" ", 1)
        for part in client.get("/").headers["content-security-policy"].split("; ")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) <= {"'self'", "'none'"}
    assert client.get("/").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_host_or_holds_inline_script(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
    if name.endswith(".html"):
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style", text)


def test_the_modules_load_only_files_that_are_there() -> None:
    for path in FILES.glob("*.js"):
        for imported in re.findall(r'(?:from |import\()"\./([^"]+)"', path.read_text("utf-8")):
            assert imported in NAMES, path.name
    page = (FILES / "index.html").read_text(encoding="utf-8")
    for loaded in re.findall(r'(?:src|href)="/web/([^"]+)"', page):
        assert loaded in NAMES
