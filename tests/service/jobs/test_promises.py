"""Refusals in words, states in order, results by range: what docs/jobs.md says of every job."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.encoding.session import Session
from service.jobs.folder import Jobs
from service.settings import Settings
from tests.service.jobs.conftest import BYTES, Office


def _refused(response: Any, status: int, *words: str) -> None:  # noqa: ANN401
    assert response.status_code == status, response.text
    message = response.json()["error"]["message"]
    for word in words:
        assert word in message


def test_a_file_is_kept_as_it_came(office: Office) -> None:
    content = os.urandom(150_000)
    id_ = office.upload("Übung 1.txt", content)
    file = office.client.get(f"/files/{id_}").json()
    assert file["name"] == "Übung 1.txt"
    assert (file["bytes"], file["sha256"]) == (150_000, hashlib.sha256(content).hexdigest())
    assert id_ in [each["id"] for each in office.client.get("/files").json()["files"]]
    assert office.client.delete(f"/files/{id_}").json() == {"deleted": 1}
    _refused(office.client.get(f"/files/{id_}"), 404, id_)


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_file_that_is_too_large_leaves_nothing(office: Office, is_declared: bool) -> None:
    before = office.client.get("/files").json()
    content = b"x" * 200_001
    sent = content if is_declared else iter([content[:150_000], content[150_000:]])
    response = office.client.post("/files?name=a.txt", content=sent, headers=BYTES)
    _refused(response, 413, "200000 bytes", "POLYGRAIN_MAX_FILE_BYTES")
    assert office.client.get("/files").json() == before
    folder = office.data.parent / "state" / "files"
    assert not [each for each in folder.iterdir() if each.name.startswith(".")]


def test_all_files_together_have_a_limit(encoder: Encoder, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, max_files_bytes=100)
    with TestClient(create_app(settings, encoder)) as client:
        assert client.post("/files?name=a", content=b"x" * 60, headers=BYTES).status_code == 200
        response = client.post("/files?name=b", content=b"x" * 60, headers=BYTES)
    _refused(response, 413, "POLYGRAIN_MAX_FILES_BYTES", "60 are taken")


@pytest.mark.parametrize(
    ("query", "headers", "status", "word"),
    [
        ("", BYTES, 422, "name is missing"),
        ("?name=../a.txt", BYTES, 422, "without a folder"),
        ("?name=.hidden", BYTES, 422, "without a folder"),
        ("?name=a%00", BYTES, 422, "without a folder"),
        ("?name=a&sha256=0", BYTES, 422, "has the sha256"),
        ("?name=a", {"Content-Type": "text/plain"}, 415, "octet-stream"),
        ("?name=a", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "no form"),
    ],
)
def test_what_is_wrong_with_an_upload_is_said(
    office: Office, query: str, headers: dict[str, str], status: int, word: str
) -> None:
    response = office.client.post(f"/files{query}", content=b"the cat", headers=headers)
    _refused(response, status, word)


def _embed(**input_: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"type": "embed", "input": input_, "output": "jsonl"}


@pytest.mark.parametrize(
    "path", ["../secret.txt", "a/../../secret.txt", "/etc/passwd", "out", "out/secret.txt", ""]
)
def test_no_path_leads_out_of_the_data_folder(office: Office, path: str) -> None:
    outside = office.data.parent
    (outside / "secret.txt").write_text("the cat\n")
    for name, target in (("out", outside), ("link.txt", outside / "secret.txt")):
        if not (office.data / name).is_symlink():
            (office.data / name).symlink_to(target)
    for each in (path, "link.txt"):
        response = office.client.post("/jobs", json=_embed(path=each))
        assert response.status_code == 422, response.text
        assert response.json()["error"]["param"] == "input.path"


def test_a_link_inside_the_data_folder_is_followed(office: Office) -> None:
    (office.data / "real.txt").write_text("the cat\n")
    (office.data / "inner.txt").symlink_to(office.data / "real.txt")
    assert office.run(**_embed(path="inner.txt"))["counts"]["completed"] == 1


def test_only_regular_files_are_read(office: Office) -> None:
    os.mkfifo(office.data / "pipe.txt")
    (office.data / "folder").mkdir()
    for name in ("pipe.txt", "folder", "missing.txt"):
        _refused(office.client.post("/jobs", json=_embed(path=name)), 404, "no such file")


def test_without_a_data_folder_no_path_is_read(encoder: Encoder, tmp_path: Path) -> None:
    with TestClient(create_app(Settings(state_dir=tmp_path), encoder)) as client:
        response = client.post("/jobs", json=_embed(path="a.txt"))
        _refused(response, 422, "POLYGRAIN_DATA_DIR", "POST /files")


def test_what_is_wrong_with_a_job_is_said_when_it_is_submitted(office: Office) -> None:
    file = {"file": office.upload("a.tsv", "id\tbody\nx\tthe cat")}
    post = office.client.post
    for job, status, words in (
        ({"type": "knit"}, 422, ["type", "embed, index, retrieve, align"]),
        ({}, 422, ["type is missing"]),
        (_embed(), 422, ["exactly one of input.file and input.path"]),
        (_embed(file="a", path="b"), 422, ["exactly one"]),
        (_embed(file="file_none"), 404, ["file_none", "POST /files"]),
        (_embed(**file), 422, ["no column 'text'", "id, body", "input.text_column"]),
        (_embed(**file, format="parquet"), 422, ["no Parquet file"]),
        ({**_embed(**file), "adapter": "none"}, 422, ["adapter is 'none'"]),
        ({**_embed(**file), "extra": 1}, 422, ["unknown field extra"]),
        ({**_embed(**file), "max_errors": -1}, 422, ["max_errors"]),
        ({**_embed(**file, text_column="body"), "output": "npy", "encoding": "base64"}, 422,
         ["base64"]),
        ({"type": "index", "input": {**file, "text_column": "body"}, "collection": "none"}, 404,
         ["no collection none", "PUT /collections/none"]),
        ({"type": "retrieve", "input": {**file, "text_column": "body"}, "collection": "none"},
         404, ["no collection none"]),
        ({"type": "align", "source": file}, 422, ["target is missing"]),
    ):  # fmt: skip
        _refused(post("/jobs", json=job), status, *words)


def test_a_collection_that_is_gone_fails_its_job(office: Office) -> None:
    office.client.put("/collections/shortlived", json={})
    file = office.upload("q.txt", "the cat\n" * 3_000)
    job = office.submit(type="retrieve", input={"file": file}, collection="shortlived")
    office.client.delete("/collections/shortlived")
    ended = office.wait(job["id"])
    assert ended["state"] == "failed"
    assert "no collection shortlived" in ended["error"]


def test_results_come_whole_and_by_range(office: Office) -> None:
    job = office.run(**_embed(file=office.upload("a.txt", "the cat\nle chat\nhund")))
    url, about = job["results"]["url"], job["results"]
    whole = office.client.get(url)
    assert whole.headers["etag"] == f'"{about["sha256"]}"'
    assert hashlib.sha256(whole.content).hexdigest() == about["sha256"]
    assert len(whole.content) == about["bytes"]
    part = office.client.get(url, headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{about['bytes']}"
    rest = office.client.get(url, headers={"Range": "bytes=30-", "If-Range": part.headers["etag"]})
    assert whole.content == whole.content[:10] + part.content + rest.content
    other = office.client.get(url, headers={"Range": "bytes=30-", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)
    beyond = office.client.get(url, headers={"Range": f"bytes={about['bytes']}-"})
    assert beyond.status_code == 416


def test_a_cancelled_job_keeps_what_it_did_from_its_first_row_on(office: Office) -> None:
    lines = [f"the cat {number}" for number in range(9_000)]
    file = office.upload("long.txt", "\n".join(lines))
    job = office.submit(type="embed", input={"file": file}, output="jsonl", granularity="phrase")
    _refused(office.client.get(f"/jobs/{job['id']}/results"), 409, "rows done", "events", "cancel")
    _refused(office.client.delete(f"/jobs/{job['id']}"), 409, "cancel it first")
    _refused(office.client.delete(f"/files/{file}"), 409, job["id"])
    office.until(lambda: office.client.get(f"/jobs/{job['id']}").json()["counts"]["completed"] > 0)
    assert office.client.post(f"/jobs/{job['id']}/cancel").json()["state"] == "cancelling"
    ended = office.wait(job["id"])
    assert ended["state"] == "cancelled"
    counted = ended["counts"]["completed"]
    assert 0 < counted < 9_000
    assert ended["results"]["partial"]
    rows = [json.loads(line)["line"] for line in office.results(ended).splitlines()]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) == counted
    # Once more is no error, and what it used is free.
    assert office.client.post(f"/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert office.client.delete(f"/files/{file}").status_code == 200
    assert office.client.delete(f"/jobs/{job['id']}").json() == {"deleted": 1}
    _refused(office.client.get(f"/jobs/{job['id']}"), 404, job["id"])


def _events(office: Office, id_: str, last: str | None = None) -> list[dict[str, Any]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    response = office.client.get(f"/jobs/{id_}/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block.startswith("event: ")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_events_tell_every_state_also_to_those_who_come_again(office: Office) -> None:
    file = office.upload("a.txt", "the cat\n" * 3_000)
    job = office.submit(**_embed(file=file))
    events = _events(office, job["id"])  # to the end
    states = [json.loads(each["data"])["state"] for each in events if each["event"] == "state"]
    assert states == ["queued", "running", "finalizing", "completed"]
    ids = [int(each["id"]) for each in events]
    assert ids == sorted(ids)
    last = json.loads(events[-1]["data"])
    assert (events[-1]["event"], last["state"]) == ("progress", "completed")
    done = [
        json.loads(each["data"])["counts"]["completed"]
        for each in events
        if each["event"] == "progress"
    ]
    assert done == sorted(done)
    running = next(each["id"] for each in events if json.loads(each["data"])["state"] == "running")
    again = _events(office, job["id"], running)
    assert [json.loads(each["data"])["state"] for each in again] == [
        *("finalizing", "completed"),  # as states, and then the job as it is
        "completed",
    ]
    end = office.client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": ids_end(events)})
    assert end.status_code == 204
    wrong = office.client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
    _refused(wrong, 422, "Last-Event-ID")


def ids_end(events: list[dict[str, Any]]) -> str:
    """The id of the last event."""
    return str(events[-1]["id"])


def test_jobs_are_listed_by_page_and_state(office: Office) -> None:
    file = office.upload("a.txt", "the cat")
    ids = [office.run(**_embed(file=file))["id"] for _ in range(3)]
    first = office.client.get("/jobs?limit=2").json()
    assert [job["id"] for job in first["jobs"]] == ids[:0:-1]
    second = office.client.get(f"/jobs?limit=1&cursor={first['cursor']}").json()
    assert [job["id"] for job in second["jobs"]] == ids[:1]
    running = office.client.get("/jobs?state=running,queued").json()
    assert running == {"jobs": [], "cursor": None}
    for query in ("state=done", "limit=0", "limit=x", "cursor=-1"):
        _refused(office.client.get(f"/jobs?{query}"), 422, query.split("=")[0])


def test_what_was_kept_long_enough_is_removed(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.runner._TIDY_S", 0.0)
    with TestClient(create_app(Settings(state_dir=tmp_path, keep_jobs_s=1), encoder)) as client:
        office = Office(client, tmp_path)
        file = office.upload("a.txt", "the cat")
        job = office.submit(**_embed(file=file))
        folder = tmp_path / "jobs" / job["id"]
        office.until(lambda: client.get(f"/jobs/{job['id']}").status_code == 404)
        office.until(lambda: client.get(f"/files/{file}").status_code == 404)
        office.until(lambda: not folder.exists())


def test_a_server_without_jobs_makes_no_folder(encoder: Encoder, tmp_path: Path) -> None:
    with TestClient(create_app(Settings(state_dir=tmp_path / "state"), encoder)) as client:
        assert client.get("/jobs").json() == {"jobs": [], "cursor": None}
        assert client.get("/files").json() == {"files": []}
        assert client.get("/jobs/job_none").status_code == 404
    assert not (tmp_path / "state").exists()


def test_an_engine_that_fails_once_does_not_fail_a_job(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, failures = Session.embed, iter([True])

    def fail_once(self: Session, batch: Any) -> Any:  # noqa: ANN401
        if next(failures, False):
            raise RuntimeError("out of memory")
        return embed(self, batch)

    monkeypatch.setattr(Session, "embed", fail_once)
    with TestClient(create_app(Settings(state_dir=tmp_path), encoder)) as client:
        office = Office(client, tmp_path)
        assert office.run(**_embed(file=office.upload("a.txt", "the cat")))["counts"]["failed"] == 0


def test_jobs_are_counted_by_state(office: Office, tmp_path: Path) -> None:
    jobs = Jobs(Settings(state_dir=tmp_path / "none"))
    assert set(jobs.counts().values()) == {0}
    assert not (tmp_path / "none").exists()
    before = Jobs(Settings(state_dir=office.data.parent / "state")).counts()
    office.run(**_embed(file=office.upload("a.txt", "the cat")))
    after = Jobs(Settings(state_dir=office.data.parent / "state")).counts()
    assert after == {**before, "completed": before["completed"] + 1}
