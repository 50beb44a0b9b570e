"""`polygrain jobs` against a real server: files in, results out, whatever breaks in between."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.client.http import HttpClient, ask
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.fakes import PATIENCE_S
from tests.service.live import serving


@pytest.fixture(scope="module")
def url(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("the cat\nhund\n")
    settings = Settings(state_dir=folder / "state", data_dir=folder / "data")
    with serving(encoder, settings) as address:
        yield f"http://{address}"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["jobs", *arguments])


def _output(*arguments: str) -> str:
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def _wait(url: str, id_: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        job: dict[str, Any] = json.loads(_output("show", id_, "--url", url))
        if job["state"] in ("completed", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_is_submitted_watched_and_fetched(url: str, tmp_path: Path) -> None:
    file, out = tmp_path / "a.txt", tmp_path / "a.npy"
    file.write_text("the cat\n\nhund\n")
    submitted = _run("submit", "embed", str(file), "--output", "npy", "--watch", "--url", url)
    assert submitted.exit_code == 0, submitted.output
    id_ = submitted.stdout.strip()
    assert "completed: 3 of 3 rows, 1 bad" in submitted.stderr.splitlines()[-1]
    fetched = _run("results", id_, "--out", str(out), "--url", url)
    assert "wrote" in fetched.stderr
    array = np.load(out)
    assert array.shape == (3, 8)
    assert np.isnan(array[1]).all()
    # What broke off goes on where it ended; what is damaged is told and not kept.
    whole = out.read_bytes()
    part = tmp_path / "b.npy.part"
    part.write_bytes(whole[:100])
    _output("results", id_, "--out", str(tmp_path / "b.npy"), "--url", url)
    assert (tmp_path / "b.npy").read_bytes() == whole
    part.write_bytes(b"x" * 100)
    damaged = _run("results", id_, "--out", str(tmp_path / "b.npy"), "--url", url)
    assert (damaged.exit_code, part.exists()) == (1, False)
    assert "fetch it again" in damaged.stderr
    errors = _output("results", id_, "--errors", "--url", url)
    assert json.loads(errors) == {"line": 2, "reason": "is blank"}
    listed = _output("list", "--state", "completed", "--url", url).splitlines()
    assert listed[0].split("\t")[:5] == [id_, "embed", "completed", "3", "3"]
    assert _run("watch", id_, "--url", url).exit_code == 0


def test_every_type_is_submitted_with_its_options(url: str, tmp_path: Path) -> None:
    with closing(HttpClient(url)) as client:
        ask(client, "PUT", "/collections/c", {})
    table = tmp_path / "a.tsv"
    table.write_text("key\tbody\nx\tthe cat\ny\tle chat\n")
    columns = ("--text-column", "body", "--id-column", "key")
    for arguments, request in (
        (("index", str(table), "c", *columns, "--prefix", "p", "--language", "en"),
         {"prefix": "p"}),
        (
            ("retrieve", str(table), "c", *columns, "--top-k", "1", "--language", "en",
             "--filter", '{"field": "id", "eq": "x"}', "--include", "text"),
            {"top_k": 1, "languages": ["en"], "include": ["text"],
             "filter": {"field": "id", "eq": "x"}},
        ),
        (
            ("align", str(table), str(table), *columns, "-k", "1", "--langs", "en,fr",
             "--threshold", "0", "--output", "jsonl"),
            {"k": 1, "languages": ["en", "fr"], "threshold": 0.0, "output": "jsonl"},
        ),
        (("embed", "a.txt", "--path", "--no-normalize"), {"normalize": False}),
    ):  # fmt: skip
        id_ = _output("submit", *arguments, "--url", url).strip()
        job = _wait(url, id_)
        assert job["state"] == "completed", job
        assert {name: job["request"].get(name) for name in request} == request
        assert job["results"]["rows"] == 2


def test_a_cancelled_job_is_told_so(url: str, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("the cat sat on the mat\n" * 20_000)
    id_ = _output("submit", "embed", str(file), "--url", url).strip()
    early = _run("results", id_, "--out", str(tmp_path / "out"), "--url", url)
    assert early.exit_code == 1
    assert "rows done" in early.stderr
    assert _output("cancel", id_, "--url", url).strip() == "cancelling"
    watched = _run("watch", id_, "--url", url)
    assert watched.exit_code == 1
    assert "cancelled: as asked" in watched.stderr


def test_what_is_wrong_is_one_line(url: str, tmp_path: Path) -> None:
    missing = _run("submit", "embed", str(tmp_path / "none.txt"), "--url", url)
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)
    unknown = _run("show", "job_none", "--url", url)
    assert "there is no job 'job_none'" in unknown.stderr
    outside = _run("submit", "embed", "../a.txt", "--path", "--url", url)
    assert "without .." in outside.stderr
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = _run("list", "--url", f"http://127.0.0.1:{port}")
    assert "start one with polygrain serve" in away.stderr
