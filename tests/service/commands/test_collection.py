"""`polygrain collection`, on a state folder and through a server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from models.bundle import Bundle
from service.cli import main
from service.encoding.encoder import Encoder
from service.retrieval.folder import Collections
from service.settings import Settings
from tests.service.live import serving
from tests.tiny_bundle import DIMENSION

TEXTS = ["the cat sat on the mat.", "the big red dog sat.", "le chat."]


@pytest.fixture
def state(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle and an empty state folder as those that the environment names."""
    monkeypatch.setenv("POLYGRAIN_BUNDLE", str(tiny_bundle.path))
    monkeypatch.setenv("POLYGRAIN_THREADS", "1")
    monkeypatch.setenv("POLYGRAIN_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def url(encoder: Encoder, tmp_path: Path) -> Iterator[str]:
    """A running server's address."""
    with serving(encoder, Settings(state_dir=tmp_path / "served")) as address:
        yield f"http://{address}"


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["collection", *map(str, arguments)], input=stdin)


def ok(*arguments: str | Path, stdin: str | bytes | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path, stdin: str | bytes | None = None, code: int = 1) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("through_server", [False, True])
def test_the_life_of_a_collection(
    state: Path, tmp_path: Path, request: pytest.FixtureRequest, through_server: bool
) -> None:
    at = ("--url", request.getfixturevalue("url")) if through_server else ()
    described = json.loads(ok("create", "news", "--granularity", "sentence", *at))
    assert (described["name"], described["granularity"]) == ("news", "sentence")
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n")
    assert ok("add", "news", tmp_path / "a.txt", "--language", "en", *at) == (
        "3 documents are in news\n"
    )
    assert ok("info", *at) == "news\n"
    assert json.loads(ok("info", "news", *at))["documents"] == 3
    lines = ok("search", "news", TEXTS[1], TEXTS[0], "--top-k", "1", *at).splitlines()
    assert lines == [f"1\t1.0000\ta.txt:2\ten\t{TEXTS[1]}", f"2\t1.0000\ta.txt:1\ten\t{TEXTS[0]}"]
    ok("export", "news", "--vectors", "--out", tmp_path / "news.jsonl", *at)
    assert ok("import", "copy", tmp_path / "news.jsonl", *at) == "3 documents are in copy\n"
    assert ok("export", "copy", "--vectors", *at) == (tmp_path / "news.jsonl").read_text()
    plain = ok("export", "news", *at)
    assert ok("import", "plain", "-", *at, stdin=plain) == "3 documents are in plain\n"
    assert ok("export", "plain", *at) == plain
    some = '{"field": "id", "in": ["a.txt:1", "a.txt:2"]}'
    assert ok("delete", "news", "--filter", some, *at) == "2 documents are deleted from news\n"
    assert ok("delete", "news", "--id", "a.txt:3", "--id", "x", *at).startswith("1 documents")
    assert json.loads(ok("rebuild", "news", "--recall", "0.9", *at))["embedded"] == 0
    assert ok("delete", "news", "--whole", *at) == "news is deleted\n"
    assert ok("info", *at) == "copy\nplain\n"
    assert "there is no collection news" in refused("info", "news", *at)
    assert "is 'x'; use id" in refused(
        "search", "copy", "a", "--filter", '{"field":"x","eq":1}', *at
    )
    assert state.exists() != through_server


def _documents(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in ok("export", name).splitlines()]


def test_tables_become_documents_with_metadata(state: Path, tmp_path: Path) -> None:
    rows = [
        {"id": "1", "text": "the cat.", "lang": "en", "granularity": "paragraph", "n": "5"},
        {"id": "2", "text": "le chat.", "lang": "fr", "granularity": "phrase", "n": "6"},
    ]
    expected = [
        {
            "id": row["id"],
            "text": row["text"],
            "language": row["lang"],
            "granularity": row["granularity"],
            "metadata": {"n": row["n"]},
        }
        for row in rows
    ]
    tsv = "\n".join("\t".join(row) for row in ([*rows[0]], *([*row.values()] for row in rows)))
    (tmp_path / "a.tsv").write_text(tsv)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.tsv", "a.jsonl", "a.parquet"):
        ok("create", name)
        ok("add", name, tmp_path / name)
        assert _documents(name) == expected
    ok("create", "other")
    (tmp_path / "b.tsv").write_text("key\tbody\nx\tthe dog.\n")
    columns = ("--id-column", "key", "--text-column", "body")
    ok("add", "other", tmp_path / "b.tsv", *columns, "--language", "en")
    assert _documents("other")[0]["id"] == "x"


def test_lines_of_json_are_documents_as_they_are(state: Path) -> None:
    ok("create", "docs")
    line = {"id": "a", "text": "cat", "language": "fr", "metadata": {"deep": {"list": [1, None]}}}
    ok(
        "add",
        "docs",
        "--format",
        "jsonl",
        "--prefix",
        "x",
        stdin=json.dumps(line) + '\n{"text":"b"}',
    )
    first, second = _documents("docs")
    assert first == {**line, "granularity": "phrase"}
    assert second["id"] == "x2"


def test_vectors_of_ones_own_are_imported(state: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float16)[:2] * 7)
    (tmp_path / "ids.txt").write_text("a\nb\n")
    own = ("--vectors", tmp_path / "x.npy", "--ids", tmp_path / "ids.txt")
    assert ok("import", "own", *own) == "2 documents are in own\n"
    info = json.loads(ok("info", "own"))
    assert (info["dimensions"], info["vectors"][0]["bundle"]) == (3, None)
    (tmp_path / "ids.txt").write_text("a\n")
    assert "has 2 rows and" in refused("import", "own", *own)
    assert "has shape (3,)" in refused(
        "import", "own", "--vectors", _saved(tmp_path / "y.npy"), "--ids", tmp_path / "ids.txt"
    )


def _saved(path: Path) -> Path:
    np.save(path, np.zeros(3))
    return path


def test_an_import_may_embed_anew(state: Path, tmp_path: Path) -> None:
    line = {"id": "a", "text": "cat", "vector": [1.0] + [0.0] * (DIMENSION - 1)}
    (tmp_path / "a.jsonl").write_text(json.dumps({**line, "adapter": "phrase"}))
    ok("import", "taken", tmp_path / "a.jsonl")
    ok("import", "made", tmp_path / "a.jsonl", "--embed")
    scores = [
        json.loads(ok("search", name, "cat", "--json"))["results"][0][0]["score"]
        for name in ("taken", "made")
    ]
    assert scores[0] < 0.99
    assert scores[1] == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("add", "docs"), "a\n\nb\n", "line 2 is blank; remove it, or give --skip-blank"),
        (("add", "docs"), b"a\n\xff\n", "line 2 is not UTF-8 (byte 0)"),
        (
            ("add", "docs", "--format", "tsv"),
            "id\ttext\n1\n",
            "line 2 has 1 columns and the header 2",
        ),
        (("add", "docs", "--format", "tsv"), "id\tbody\n1\ta\n", "row 2 has no column text"),
        (("add", "docs", "--format", "jsonl"), "[]", "line 1 is no object of JSON"),
        (("add", "docs", "--format", "jsonl"), "{", "line 1 is not JSON"),
        (("add", "docs", "--format", "parquet"), "x", "the file is no Parquet"),
        (("add", "docs", "--format", "jsonl"), '{"text": 5}', "documents[0].text is an integer"),
        (("add", "nothing"), "a\n", "there is no collection nothing"),
        (("import", "docs", "-"), "", "there are no documents to import"),
        (("import", "docs", "-"), '{"id": "a"}', "line 1 has no text to embed"),
    ],
)
def test_files_that_are_wrong_are_said(
    state: Path, arguments: tuple[str, ...], stdin: str | bytes, said: str
) -> None:
    ok("create", "docs")
    assert said in refused(*arguments, stdin=stdin)


def test_wrong_usage_is_said(state: Path) -> None:
    assert "--id, --filter or --whole" in refused("delete", "docs", code=2)
    assert "it is not JSON" in refused("delete", "docs", "--filter", "x", code=2)
    assert "give FILE, or --vectors with --ids" in refused("import", "docs", code=2)
    assert "--bundle is of the server at --url" in refused(
        "info", "--url", "localhost:1", "--bundle", "x", code=2
    )
    assert "is no address of a server" in refused("info", "--url", "ftp://x", code=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "start one with polygrain serve" in refused("info", "--url", f"127.0.0.1:{port}")


def test_a_folder_that_a_server_holds_is_refused(state: Path) -> None:
    server = Collections(state, owner=7)
    server.names()
    said = refused("info")
    assert "is in use by another server, process 7; stop it, talk to it (--url)" in said
    server.close()
    assert ok("info") == ""
