"""Whatever dies, and whenever: a job goes on, and comes to the same bytes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from models.bundle import Bundle
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.service.jobs.conftest import BYTES, ENDED, Office
from tests.service.jobs.server import Server
from tests.tiny_bundle import write_tiny_bundle

LINES = "\n".join(f"the cat {number} sat" for number in range(5_000)).encode()
OTHERS = "\n".join(f"le chat {number}" for number in range(600)).encode()

_Jobs = list[dict[str, Any]]


def _jobs(client: Any) -> list[str]:  # noqa: ANN401
    """Submit an embed and an align job; their ids."""
    files = [
        client.post(f"/files?name={name}", content=content, headers=BYTES).json()["id"]
        for name, content in (("a.txt", LINES), ("b.txt", OTHERS))
    ]
    bodies = (
        {"type": "embed", "input": {"file": files[0]}, "output": "jsonl", "granularity": "phrase"},
        {"type": "align", "source": {"file": files[1]}, "target": {"file": files[1]}},
    )
    return [client.post("/jobs", json=body).json()["id"] for body in bodies]


def _seen(client: Any, ids: list[str]) -> _Jobs:  # noqa: ANN401
    return [client.get(f"/jobs/{id_}").json() for id_ in ids]


def _have_ended(client: Any, ids: list[str]) -> _Jobs | None:  # noqa: ANN401
    jobs = _seen(client, ids)
    return jobs if all(job["state"] in ENDED for job in jobs) else None


def _sha256(jobs: _Jobs) -> list[str]:
    assert [job["state"] for job in jobs] == ["completed"] * len(jobs)
    return [job["results"]["sha256"] for job in jobs]


@pytest.fixture(scope="module")
def expected(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the jobs come to where nothing is killed."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("calm"))
    with TestClient(create_app(settings, encoder)) as client:
        office = Office(client, settings.state_dir)
        return _sha256([office.wait(id_) for id_ in _jobs(client)])


def test_kill_9_at_any_moment_changes_nothing(
    tiny_bundle: Bundle, tmp_path: Path, expected: list[str]
) -> None:
    server = Server(tiny_bundle.path, tmp_path)
    try:
        ids = _jobs(server.client)
        server.kill()  # queued, or just begun
        server = Server(tiny_bundle.path, tmp_path)
        done = server.wait_for(lambda client: _seen(client, ids)[0]["counts"]["completed"])
        server.kill()
        server = Server(tiny_bundle.path, tmp_path)
        # What was done before is not done again.
        assert _seen(server.client, ids)[0]["counts"]["completed"] >= done
        assert _sha256(server.wait_for(lambda client: _have_ended(client, ids))) == expected
        # Their working files are gone.
        folder = tmp_path / "jobs" / ids[0]
        wanted = {"errors.jsonl", "results.jsonl"}
        server.wait_for(lambda _: {each.name for each in folder.iterdir()} == wanted)
    finally:
        server.kill()


def test_a_worker_may_die_and_the_others_be_told_to_stop(
    tiny_bundle: Bundle, tmp_path: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGRAIN_SHUTDOWN_TIMEOUT_S", "600")
    server = Server(tiny_bundle.path, tmp_path, "--workers", "2")

    def done(client: Any) -> int:  # noqa: ANN401
        try:
            return int(_seen(client, ids)[0]["counts"]["completed"])
        except httpx2.TransportError:  # it was the worker that we talked to
            return 0

    try:
        ids = _jobs(server.client)
        first = server.wait_for(done)
        os.kill(int((tmp_path / "jobs" / "lock").read_text()), signal.SIGKILL)
        server.wait_for(lambda client: done(client) > first)  # the other goes on
        # Who watches is told to come again, and keeps nobody from stopping.
        with server.client.stream("GET", f"/jobs/{ids[0]}/events") as events:
            assert next(events.iter_text())
            assert server.stop() == 0
        server = Server(tiny_bundle.path, tmp_path)
        assert _sha256(server.wait_for(lambda client: _have_ended(client, ids))) == expected
    finally:
        server.kill()


class _Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def test_every_write_to_the_disk_may_be_the_last(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work on a job dies before the 1st, 2nd, 3rd … time that it forces a file to the disk."""
    # Of two shards: the plan's file and folder; three files and two folders of each shard; files
    # and folders of the results and of the errors. Each life gets one write further.
    lives = [1, 2, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4]
    fsync, left = os.fsync, list(lives)

    def die_in_time(descriptor: int) -> None:
        if left:
            left[0] -= 1
            if left[0] == 0:
                del left[0]
                raise _Killed
        fsync(descriptor)

    monkeypatch.setattr("service.jobs.runner._BUSY_S", 0.0)
    with TestClient(create_app(Settings(state_dir=tmp_path), encoder)) as client:
        office = Office(client, tmp_path)
        file = office.upload("a.txt", LINES[:30_000] + b"\n\xff\n")
        job = {"type": "embed", "input": {"file": file}, "output": "jsonl"}
        calm = office.run(**job)
        monkeypatch.setattr("os.fsync", die_in_time)
        tried = office.run(**job)
    assert not left
    assert tried["counts"] == calm["counts"]
    for name in ("results", "errors"):
        assert tried[name]["sha256"] == calm[name]["sha256"]


def test_another_bundle_begins_a_job_anew(encoder: Encoder, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "other", version="0.2.0")
    settings = Settings(state_dir=tmp_path / "state")
    with TestClient(create_app(settings, encoder)) as client:
        (id_, _) = _jobs(client)
        while not _seen(client, [id_])[0]["counts"]["completed"]:
            time.sleep(0.01)
    with TestClient(create_app(settings, Encoder.open(other.path, threads=1))) as client:
        assert _seen(client, [id_])[0]["counts"]["completed"] > 0
        job = Office(client, tmp_path).wait(id_)
    assert job["bundle"] == {"name": "tiny", "version": "0.2.0"}
    assert job["counts"]["completed"] == job["results"]["rows"] == 5_000
