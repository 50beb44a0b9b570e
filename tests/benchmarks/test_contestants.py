"""Every server is asked in its own language, and gives the same vectors for the same texts."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from benchmarks.serve import agreement
from benchmarks.serve.agreement import Disagreement
from benchmarks.serve.contestants import (
    INFINITY,
    PEER_NAMES,
    PLAIN,
    POLYGRAIN,
    Dialect,
    Encoding,
    Vectors,
    peers,
    polygrain,
)
from benchmarks.serve.peers.plain import create_app as create_plain_app
from models.bundle import Bundle
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.tiny_bundle import expected_embedding

TEXTS = ["the cat", "sat on the mat", "Größe 猫"]


@pytest.fixture(scope="module")
def ours(tiny_bundle: Bundle) -> Iterator[TestClient]:
    encoder = Encoder.open(tiny_bundle.path, threads=1)
    with TestClient(create_app(Settings(bundle=tiny_bundle.path), encoder)) as client:
        yield client


def _send(client: TestClient, dialect: Dialect, encoding: Encoding) -> bytes:
    """The answer to the very bytes of a request, taken apart again."""
    head, _, body = dialect.request(TEXTS, encoding).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert line == f"POST {dialect.path} HTTP/1.1"
    headers = dict(field.split(": ") for field in fields)
    assert int(headers["Content-Length"]) == len(body)
    response = client.post(dialect.path, content=body, headers=headers)
    response.raise_for_status()
    return response.content


@pytest.mark.parametrize("encoding", list(Encoding))
def test_our_server_is_asked_and_read_rightly(ours: TestClient, encoding: Encoding) -> None:
    vectors = POLYGRAIN.read(_send(ours, POLYGRAIN, encoding))
    adapters = [
        item["adapter"] for item in ours.post("/embed", json={"inputs": TEXTS}).json()["data"]
    ]
    expected = [expected_embedding(text, name) for text, name in zip(TEXTS, adapters, strict=True)]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_our_server_cuts_long_texts_as_the_peers_do(ours: TestClient) -> None:
    """In windows, the default, a long text's end would reach its vector."""
    longer, other = ("cat " * 60 + end for end in ("dog", "red"))
    body = POLYGRAIN.body([longer, other], Encoding.FLOAT)
    answer = ours.post("/embed", json=body).json()
    assert [item["truncated"] for item in answer["data"]] == [True, True]
    one, two = POLYGRAIN.read(orjson.dumps(answer))
    np.testing.assert_array_equal(one, two)


def test_a_plain_page_is_asked_and_read_rightly() -> None:
    seen: list[list[str]] = []

    def embed(texts: list[str]) -> Vectors:
        seen.append(texts)
        return np.arange(len(texts) * 4, dtype=np.float32).reshape(-1, 4) / np.float32(7)

    with TestClient(create_plain_app(embed)) as client:
        vectors = PLAIN.read(_send(client, PLAIN, Encoding.FLOAT))
    np.testing.assert_array_equal(
        vectors, np.arange(12, dtype=np.float32).reshape(3, 4) / np.float32(7)
    )
    assert seen == [TEXTS]


def test_infinity_is_read_in_both_encodings() -> None:
    """As its OpenAI-like route answers; base64 is little-endian float32."""
    rows = np.random.default_rng(0).normal(size=(2, 5)).astype("<f4")
    floats = {"data": [{"embedding": row.tolist()} for row in rows]}
    encoded = {"data": [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in rows]}
    for answer in (floats, encoded):
        np.testing.assert_array_equal(INFINITY.read(orjson.dumps(answer)), rows)
    body = INFINITY.body(TEXTS, Encoding.BASE64)
    assert body == {"model": "model", "input": TEXTS, "encoding_format": "base64"}


def test_a_peer_that_is_not_set_up_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fastembed is not set up in .*setup first"):
        peers(tmp_path, ["fastembed"])
    with pytest.raises(ValueError, match="'fastbed' is no peer; choose from infinity-torch"):
        peers(tmp_path, ["fastbed"])
    for name in ("fastembed", "infinity", "sentence-transformers"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
    assert tuple(one.name for one in peers(tmp_path, PEER_NAMES)) == PEER_NAMES
    assert all(one.is_peer for one in peers(tmp_path, PEER_NAMES))


def test_our_server_takes_its_settings_from_its_variant(tiny_bundle: Bundle) -> None:
    one = polygrain(tiny_bundle.path, "polygrain x", {"POLYGRAIN_THREADS": "1"})
    assert one.environment["POLYGRAIN_THREADS"] == "1"
    assert not one.is_peer
    assert str(tiny_bundle.path) in one.command


def _vectors(rows: int = 6) -> Vectors:
    return np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)


def test_contestants_that_agree_pass_whatever_their_scale() -> None:
    reference = _vectors()
    found = {"one": reference, "two": 3 * reference + 1e-4}
    lowest = agreement.check(found, "one", 0.999)
    expected = [
        (a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(reference, found["two"], strict=True)
    ]
    assert lowest["two"] == pytest.approx(min(expected))
    assert lowest["one"] == pytest.approx(1)


def _one_row_is_another(reference: Vectors) -> Vectors:
    changed = reference.copy()
    changed[-1] = reference[0]
    return changed


@pytest.mark.parametrize(
    "other",
    [_one_row_is_another(_vectors()), _vectors(5), np.full((6, 8), np.nan, np.float32)],
    ids=["one row", "a row short", "not numbers"],
)
def test_a_contestant_that_computes_something_else_is_named(other: Vectors) -> None:
    with pytest.raises(Disagreement, match="two"):
        agreement.check({"one": _vectors(), "two": other, "three": _vectors()}, "one", 0.999)


def test_the_last_probe_is_too_long_for_every_server() -> None:
    words: Sequence[str] = [f"word{letter}" for letter in "abcdefghij"]
    *_, longest = agreement.probes(words)
    assert len(longest.split()) > 512
    assert len(set(agreement.probes(words))) > 24
