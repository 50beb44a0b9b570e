"""Each type of job gives what its interactive twin gives, for good rows; bad ones are named."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.service.jobs.conftest import Office

TEXTS = ["the cat sat", "a dog on the mat", "le chat", "big red dog", "hund"]


def _embedded(office: Office, texts: list[str], **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    answer = office.client.post("/embed", json={"inputs": texts, **options}).json()
    return list(answer["data"])


def _table(content: bytes) -> list[dict[str, Any]]:
    return list(pq.read_table(io.BytesIO(content)).to_pylist())


def test_embed_gives_the_vectors_of_embed_in_every_format(office: Office) -> None:
    file = office.upload("a.txt.gz", gzip.compress("\n".join(TEXTS).encode()))
    job = {"type": "embed", "input": {"file": file}, "granularity": "sentence"}
    twins = _embedded(office, TEXTS, granularity="sentence")
    expected = np.array([each["embedding"] for each in twins], np.float32)

    array = np.load(io.BytesIO(office.results(office.run(**job, output="npy"))))
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected, atol=1e-6)

    rows = _table(office.results(office.run(**job)))
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    for row, twin in zip(rows, twins, strict=True):
        assert row["embedding"] == pytest.approx(twin["embedding"], abs=1e-6)
        for name in ("granularity", "adapter", "tokens", "truncated"):
            assert row[name] == twin[name]

    lines = office.results(office.run(**job, output="jsonl")).splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3, 4, 5]
    vectors = np.array([json.loads(line)["embedding"] for line in lines], np.float32)
    np.testing.assert_array_equal(vectors, array)

    header, *cells = office.results(office.run(**job, output="tsv")).decode().splitlines()
    assert header.split("\t") == list(rows[0])
    vectors = np.array([json.loads(cell.split("\t")[2]) for cell in cells], np.float32)
    np.testing.assert_array_equal(vectors, array)


def test_embed_takes_the_options_of_embed(office: Office) -> None:
    file = office.upload("a.txt", "\n".join(TEXTS))
    job = {"type": "embed", "input": {"file": file}, "adapter": "phrase"}
    int8 = np.load(io.BytesIO(office.results(office.run(**job, output="npy", encoding="int8"))))
    twins = _embedded(office, TEXTS, adapter="phrase", encoding="int8")
    np.testing.assert_allclose(int8, [each["embedding"] for each in twins], atol=1)
    assert int8.dtype == np.int8
    plain = office.results(office.run(**job, output="npy", normalize=False))
    expected = _embedded(office, TEXTS, adapter="phrase", normalize=False)
    np.testing.assert_allclose(
        np.load(io.BytesIO(plain)), [each["embedding"] for each in expected], atol=1e-5
    )


BAD = b"""{"id": "a", "text": "the cat"}
{"text": "\xff"}

{"text": 5}
[1]
{"id": "f", "text": "le chat"}
{"other": "hund"}
{"text": "%s"}
{"id": 9, "text": "the dog"}""" % (b"x" * 501)


def test_bad_rows_are_named_and_the_others_are_done(office: Office) -> None:
    file = office.upload("bad.jsonl", BAD)
    job = {"type": "embed", "input": {"file": file}, "granularity": "sentence"}
    ended = office.run(**job, output="jsonl")
    assert ended["counts"] == {"total": 9, "completed": 3, "failed": 6}
    rows = [json.loads(line) for line in office.results(ended).splitlines()]
    assert [(row["line"], row["id"]) for row in rows] == [(1, "a"), (6, "f"), (9, "9")]
    reasons = {each["line"]: each["reason"] for each in office.errors(ended)}
    assert sorted(reasons) == [2, 3, 4, 5, 7, 8]
    assert reasons[2].startswith("is not UTF-8")
    assert reasons[3] == "is blank"
    assert "int" in reasons[4]
    assert reasons[5] == "is no object of JSON"
    assert "column text" in reasons[7]
    assert "501 characters" in reasons[8]
    # An array keeps the places of bad rows.
    array = np.load(io.BytesIO(office.results(office.run(**job, output="npy"))))
    assert np.isnan(array).all(axis=1).tolist() == [row not in (1, 6, 9) for row in range(1, 10)]


def test_a_text_that_the_options_refuse_is_a_bad_row(office: Office) -> None:
    long = "the cat " * 20
    file = office.upload("a.txt", "\n".join([*TEXTS, long, "hund", long]))
    ended = office.run(
        type="embed",
        input={"file": file},
        granularity="sentence",
        long_text="error",
        output="jsonl",
    )
    assert [each["line"] for each in office.errors(ended)] == [6, 8]
    rows = [json.loads(line)["line"] for line in office.results(ended).splitlines()]
    assert rows == [1, 2, 3, 4, 5, 7]


def test_more_bad_rows_than_allowed_end_a_job_that_keeps_what_it_did(office: Office) -> None:
    good = "\n".join(["the cat"] * 1_024)
    file = office.upload("a.txt", f"{good}\n\n\n\nhund")
    job = {"type": "embed", "input": {"file": file}, "output": "jsonl", "granularity": "phrase"}
    ended = office.wait(office.submit(**job, max_errors=2)["id"])
    assert ended["state"] == "failed"
    assert "3 rows are bad" in ended["error"]
    assert ended["results"]["partial"]
    assert [each["line"] for each in office.errors(ended)] == [1025, 1026, 1027]
    assert len(office.results(ended).splitlines()) == 1_025
    assert office.wait(office.submit(**job, max_errors=3)["id"])["state"] == "completed"


def test_index_writes_what_documents_would(office: Office) -> None:
    office.client.put("/collections/indexed", json={"granularity": "sentence"})
    table = pa.table(
        {
            "key": ["a", "b", "a", None, "x" * 600],
            "body": ["the cat", "le chat", "the dog", "hund", "too long an id"],
            "lang": ["en", "fr", "en", None, "en"],
            "year": [1, 2, 3, 4, 5],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    file = office.upload("a.parquet", sink.getvalue())
    ended = office.run(
        type="index",
        input={"file": file, "text_column": "body", "id_column": "key"},
        collection="indexed",
        prefix="row-",
        language="de",
    )
    assert ended["counts"] == {"total": 5, "completed": 4, "failed": 1}
    assert [each["line"] for each in office.errors(ended)] == [5]
    described = office.client.get("/collections/indexed").json()
    assert described["documents"] == 3
    # Of two rows with one id the later stands.
    a = office.client.get("/collections/indexed/documents/a").json()
    assert (a["text"], a["metadata"]) == ("the dog", {"year": 3})
    unnamed = office.client.get("/collections/indexed/documents/row-4").json()
    assert (unnamed["text"], unnamed["language"]) == ("hund", "de")
    rows = [json.loads(line) for line in office.results(ended).splitlines()]
    assert [row["id"] for row in rows] == ["a", "b", "a", "row-4"]
    assert [row["language"] for row in rows] == ["en", "fr", "en", "de"]


@pytest.fixture(scope="module")
def library(office: Office) -> Office:
    """The office with a collection of some documents."""
    office.client.put("/collections/library", json={"granularity": "sentence"})
    documents = [
        {"id": f"d{number}", "text": text, "language": "en" if number % 2 else "de",
         "metadata": {"number": number}}
        for number, text in enumerate(["the cat", "a cat sat", "big dog", "red mat", "the hund"])
    ]  # fmt: skip
    answer = office.client.post("/collections/library/documents", json={"documents": documents})
    assert answer.status_code == 200
    return office


@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_retrieve_finds_what_search_finds(library: Office, score: str) -> None:
    file = library.upload(
        "q.tsv", "id\ttext\n" + "\n".join(f"q{i}\t{t}" for i, t in enumerate(TEXTS))
    )
    options = {
        "top_k": 3,
        "score": score,
        "filter": {"field": "metadata.number", "range": {"gte": 1}},
        "granularity": "sentence",
    }
    job = {"type": "retrieve", "input": {"file": file}, "collection": "library", **options}
    twin = library.client.post("/collections/library/search", json={"queries": TEXTS, **options})
    expected = twin.json()["results"]
    ended = library.run(**job)
    rows = [json.loads(line) for line in library.results(ended).splitlines()]
    assert [(row["line"], row["id"]) for row in rows] == [(2 + i, f"q{i}") for i in range(5)]
    for row, hits in zip(rows, expected, strict=True):
        assert [hit["id"] for hit in row["hits"]] == [hit["id"] for hit in hits]
        assert row["hits"][0]["score"] == pytest.approx(hits[0]["score"], abs=2e-6)
        assert row["hits"][0]["metadata"] == hits[0]["metadata"]
    nested = _table(library.results(library.run(**job, output="parquet")))
    assert [[hit["id"] for hit in row["hits"]] for row in nested] == [
        [hit["id"] for hit in hits] for hits in expected
    ]
    flat = library.results(library.run(**job, output="tsv")).decode().splitlines()
    assert len(flat) == 1 + 3 * 5
    assert flat[1].split("\t")[:4] == ["2", "q0", "1", expected[0][0]["id"]]


def test_a_query_without_hits_has_its_row(library: Office) -> None:
    file = library.upload("q.txt", "the cat")
    job = {
        "type": "retrieve",
        "input": {"file": file},
        "collection": "library",
        "languages": ["fr"],
    }
    (row,) = library.results(library.run(**job)).splitlines()
    assert json.loads(row)["hits"] == []
    _, line = library.results(library.run(**job, output="tsv")).decode().splitlines()
    assert line.split("\t")[:4] == ["1", "", "0", ""]


def test_align_pairs_what_align_pairs(office: Office) -> None:
    ours = ["the cat sat", "a big dog", "red mat", "le chat", "hund"]
    theirs = ["big dog", "the cat sat on", "mat red", "katze hund"]
    source = office.upload("a.txt", "\n".join(ours))
    target = office.upload(
        "b.tsv", "id\ttext\n" + "\n".join(f"x\t{text}" for text in theirs) + "\nbad"
    )
    ended = office.run(
        type="align", source={"file": source}, target={"file": target}, k=2, output="jsonl"
    )
    twin = office.client.post(
        "/align", json={"source": ours, "target": theirs, "k": 2, "granularity": "sentence"}
    ).json()
    rows = [json.loads(line) for line in office.results(ended).splitlines()]
    found = {(row["source_line"] - 1, row["target_line"] - 2) for row in rows}
    assert found == {(pair["source"][0], pair["target"][0]) for pair in twin["pairs"]}
    assert ended["counts"] == {"total": 10, "completed": 9, "failed": 1}
    (error,) = office.errors(ended)
    assert (error["side"], error["line"]) == ("target", 6)
    assert ended["summary"]["pairs"] == len(rows) == ended["results"]["rows"]
    failed = office.wait(
        office.submit(type="align", source={"file": source}, target={"file": target}, max_errors=0)[
            "id"
        ]
    )
    assert failed["state"] == "failed"


@pytest.mark.parametrize("output", ["parquet", "jsonl", "tsv", "npy"])
def test_an_empty_file_gives_an_empty_result(office: Office, output: str) -> None:
    file = office.upload("empty.txt", b"")
    ended = office.run(type="embed", input={"file": file}, output=output)
    assert ended["counts"] == {"total": 0, "completed": 0, "failed": 0}
    content = office.results(ended)
    if output == "npy":
        assert np.load(io.BytesIO(content)).shape == (0, 8)
    elif output == "parquet":
        assert _table(content) == []
    else:
        assert len(content.splitlines()) == (1 if output == "tsv" else 0)


def test_a_path_in_the_data_folder_is_read(office: Office, tmp_path: Path) -> None:
    (office.data / "sub").mkdir(exist_ok=True)
    (office.data / "sub" / "a.txt").write_text("the cat\nhund\n")
    ended = office.run(type="embed", input={"path": "sub/a.txt"}, output="npy")
    assert ended["counts"]["completed"] == 2
