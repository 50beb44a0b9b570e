"""The bundle changes under load: no request fails, none mixes two, and the old one is freed."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from models.bundle import Bundle
from service.app import create_app
from service.encoding.encoder import Encoder
from service.errors import BundleRefused, Conflict, NotReady
from service.settings import Settings
from tests.fakes import PATIENCE_S, gated_encoder
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "other", name="other", version="0.2.0")


def _open(path: Path) -> Encoder:
    return Encoder.open(path, threads=1)


def _client(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", timeout=PATIENCE_S
    )


async def _with_app(
    app: Starlette, scenario: Callable[[httpx2.AsyncClient], Awaitable[None]]
) -> None:
    async with app.router.lifespan_context(app), _client(app) as client:
        await scenario(client)


def test_a_request_that_has_begun_ends_with_the_bundle_it_began_with(
    tiny_bundle: Bundle, other: Bundle
) -> None:
    encoder, session = gated_encoder(tiny_bundle)
    # Behind the gate the model would hold the event loop, too.
    app = create_app(Settings(lone_tokens=0), encoder, _open)

    async def scenario(client: httpx2.AsyncClient) -> None:
        old = asyncio.create_task(client.post("/embed", json={"inputs": "cat"}))
        await asyncio.to_thread(session.entered.wait, PATIENCE_S)
        swap = await client.post("/admin/bundle", json={"path": str(other.path)})
        assert (swap.status_code, swap.json()) == (200, {"name": "other", "version": "0.2.0"})
        new = await client.post("/embed", json={"inputs": "cat"})
        assert new.json()["model"] == "other"
        assert not old.done()
        session.gate.set()
        assert (await old).json()["model"] == "tiny"

    asyncio.run(_with_app(app, scenario))


def test_a_request_whose_body_still_comes_is_not_refused(
    tiny_bundle: Bundle, other: Bundle
) -> None:
    app = create_app(Settings(), _open(tiny_bundle.path), _open)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> Any:  # noqa: ANN401
        yield b'{"inputs": '
        began.set()
        await go_on.wait()
        yield b'"cat"}'

    async def scenario(client: httpx2.AsyncClient) -> None:
        # The client's own transport joins a body first, so the application is called by hand.
        answer: list[Any] = []
        parts = body()

        async def receive() -> dict[str, Any]:
            async for part in parts:
                return {"type": "http.request", "body": part, "more_body": b"}" not in part}
            await asyncio.Event().wait()  # the client stays
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            answer.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/embed",
            "headers": headers,
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("test", 80),
        }
        slow = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await began.wait()
        await app.state.use_bundle(other.path)
        for _ in range(50):
            await asyncio.sleep(0)
        go_on.set()
        await slow
        assert answer[0]["status"] == 200
        assert b'"model":"tiny"' in answer[1]["body"]

    asyncio.run(_with_app(app, scenario))


def test_no_request_fails_while_bundles_change(tiny_bundle: Bundle, other: Bundle) -> None:
    app = create_app(Settings(), _open(tiny_bundle.path), _open)
    models: set[str] = set()

    async def ask(client: httpx2.AsyncClient, until: asyncio.Event) -> int:
        count = 0
        while not until.is_set():
            response = await client.post("/embed", json={"inputs": ["cat", "the dog sat."]})
            assert response.status_code == 200, response.text
            models.add(response.json()["model"])
            count += 1
        return count

    async def scenario(client: httpx2.AsyncClient) -> None:
        until = asyncio.Event()
        askers = [asyncio.create_task(ask(client, until)) for _ in range(4)]
        for path in (other.path, tiny_bundle.path) * 3:
            await app.state.use_bundle(path)
            await asyncio.sleep(0.02)
        until.set()
        counts = await asyncio.gather(*askers)
        assert min(counts) > 3
        metrics = (await client.get("/metrics")).text
        # Twice sent texts may have met in the queue; what was counted once stays counted.
        rows = float(metrics.split("\npolygrain_rows_total ")[1].split("\n")[0])
        joined = float(metrics.split("\npolygrain_joined_rows_total ")[1].split("\n")[0])
        assert rows + joined == 2 * sum(counts)

    asyncio.run(_with_app(app, scenario))
    assert models == {"tiny", "other"}


def test_the_old_bundle_is_freed(tiny_bundle: Bundle, other: Bundle) -> None:
    app = create_app(Settings(), _open(tiny_bundle.path), _open)
    gone: list[weakref.ref[Encoder]] = []

    async def scenario(client: httpx2.AsyncClient) -> None:
        assert (await client.post("/embed", json={"inputs": "cat"})).status_code == 200
        gone.append(weakref.ref(app.state.encoder))
        await app.state.use_bundle(other.path)
        for _ in range(1_000):
            if not app.state.swapper.retiring:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        gc.collect()
        assert gone[0]() is None

    asyncio.run(_with_app(app, scenario))


def test_what_cannot_be_served_changes_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bad = write_tiny_bundle(tmp_path / "bad", graph=b"no graph")
    with TestClient(create_app(Settings(), _open(tiny_bundle.path), _open)) as client:
        for path in (bad.path, tmp_path / "missing"):
            response = client.post("/admin/bundle", json={"path": str(path)})
            assert response.status_code == 422
            error = response.json()["error"]
            assert (error["code"], error["param"]) == ("bundle_refused", "path")
            assert "the bundle that was served goes on" in error["message"]
            assert client.post("/embed", json={"inputs": "a"}).json()["model"] == "tiny"


def test_a_path_must_be_absolute(tiny_bundle: Bundle) -> None:
    with TestClient(create_app(Settings(), _open(tiny_bundle.path), _open)) as client:
        response = client.post("/admin/bundle", json={"path": "models/mine"})
    assert response.status_code == 422
    assert "give an absolute path" in response.json()["error"]["message"]


def test_without_a_path_the_configured_link_is_read_anew(
    tiny_bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    link = tmp_path / "current"
    link.symlink_to(tiny_bundle.path)
    app = create_app(Settings(bundle=link), _open(link), _open)
    with TestClient(app) as client:
        link.unlink()
        link.symlink_to(other.path)
        assert client.post("/embed", json={"inputs": "a"}).json()["model"] == "tiny"
        assert client.post("/admin/bundle", json={}).json()["name"] == "other"
        assert client.get("/info").json()["name"] == "other"


def test_two_changes_at_once_are_a_conflict_and_none_comes_after_the_end(
    tiny_bundle: Bundle, other: Bundle
) -> None:
    gate, entered = threading.Event(), threading.Event()

    def slowly(path: Path) -> Encoder:
        entered.set()
        assert gate.wait(PATIENCE_S)
        return _open(path)

    app = create_app(Settings(), _open(tiny_bundle.path), slowly)

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(app.state.use_bundle(other.path))
            await asyncio.to_thread(entered.wait, PATIENCE_S)
            with pytest.raises(Conflict):
                await app.state.use_bundle(other.path)
        gate.set()
        with pytest.raises(NotReady):
            await first

    asyncio.run(scenario())


def test_a_fault_of_opening_is_a_refusal_that_says_so(tiny_bundle: Bundle) -> None:
    def broken(path: Path) -> Encoder:
        raise OSError("the disk is gone")

    app = create_app(Settings(), _open(tiny_bundle.path), broken)

    async def scenario(client: httpx2.AsyncClient) -> None:
        with pytest.raises(BundleRefused, match="the disk is gone"):
            await app.state.use_bundle(tiny_bundle.path)
        assert (await client.get("/readyz")).status_code == 200

    asyncio.run(_with_app(app, scenario))
