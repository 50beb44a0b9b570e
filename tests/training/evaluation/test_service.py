"""The suite's client: against the real service, and against servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

import numpy as np
import pytest
import uvicorn

from models.bundle import Bundle, Granularity
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from training.errors import TrainingError
from training.evaluation import service
from training.evaluation.embedder import Embedder
from training.evaluation.service import ServiceEncoder

PATIENCE_S = 30


@contextmanager
def _in_thread(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def url(tiny_bundle: Bundle) -> Iterator[str]:
    """The real service with the tiny bundle, on a free port."""
    app = create_app(Settings(max_items=7), Encoder.open(tiny_bundle.path, threads=1))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stop() -> None:
            server.should_exit = True

        with _in_thread(lambda: server.run(sockets=[listener]), stop):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_service_gives_the_vectors_of_its_bundle(url: str, tiny_bundle: Bundle) -> None:
    encoder = ServiceEncoder.open(url)
    own = Embedder.open(tiny_bundle.path, threads=1, plain=False)
    assert encoder.max_items == 7
    texts = [f"{'the cat sat on the mat ' * (n % 3)}dog {n}" for n in range(20)] + ["dog 1"]
    for adapter in ("phrase", "sentence", "paragraph"):
        found = encoder.embed(texts, adapter)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, own.embed(texts, adapter), atol=1e-6)
    assert encoder.model.routing == own.model.routing
    assert encoder.model.adapters["word"] is Granularity.WORD
    assert not encoder.model.has_plain
    assert not encoder.model.has_tokens


def test_what_the_service_refuses_is_told_in_its_words(url: str) -> None:
    with pytest.raises(TrainingError, match=r"/embed answered 422: .*empty text"):
        ServiceEncoder.open(url).embed(["   "], "sentence")


INFO = {
    "name": "made",
    "version": "1.0.0",
    "dimensions": 2,
    "adapters": [{"name": "all", "granularity": "sentence", "max_tokens": 9}],
    "routing": {"phrase": "all", "sentence": "all", "paragraph": "all"},
    "limits": {"max_items": 2048},
}
ONE = "AACAPwAAAAA="  # [1, 0] as little-endian float32


@dataclass
class Script:
    """A server that gives these answers in turn: status, headers, body."""

    answers: list[tuple[int, dict[str, str], Any]]
    asked: list[Any] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[str]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                script.asked.append(
                    json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                )
                self._answer()

            def _answer(self) -> None:
                status, headers, body = script.answers.pop(0)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        with (
            # Not HTTPServer, which asks the resolver for its own name.
            TCPServer(("127.0.0.1", 0), Handler) as server,
            _in_thread(lambda: server.serve_forever(poll_interval=0.01), server.shutdown),
        ):
            yield f"http://127.0.0.1:{server.server_address[1]}"

    def embed(self, texts: list[str]) -> np.ndarray:
        with self.serve() as url:
            return ServiceEncoder.open(url, self.waits.append).embed(texts, "all")


def _vectors(*encoded: str, model: str = "made") -> dict[str, Any]:
    return {"model": model, "data": [{"embedding": each} for each in encoded]}


def test_a_full_service_is_asked_again_when_it_says_so() -> None:
    busy = {"error": {"message": "the queue is full"}}
    script = Script(
        [
            (200, {}, INFO),
            (429, {"Retry-After": "7"}, busy),
            (503, {}, busy),
            (429, {"Retry-After": "9999"}, busy),
            (200, {}, _vectors(ONE)),
        ]
    )
    np.testing.assert_array_equal(script.embed(["a"]), [[1, 0]])
    assert script.waits == [7, 1, 60]
    assert (
        script.asked[0]
        == script.asked[3]
        == {
            "inputs": ["a"],
            "adapter": "all",
            "long_text": "truncate",
            "encoding": "base64",
        }
    )


def test_a_service_that_stays_full_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_MAX_TRIES", 3)
    busy = (429, {"Retry-After": "1"}, {"error": {"message": "the queue is full"}})
    script = Script([(200, {}, INFO), busy, busy, busy])
    with pytest.raises(TrainingError, match="answered 429: the queue is full"):
        script.embed(["a"])


def test_each_text_is_sent_once_in_requests_of_bounded_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_MAX_ITEMS", 3)
    monkeypatch.setattr(service, "_MAX_CHARACTERS", 8)
    # The longest alone goes over the limit, and goes alone.
    texts = ["bb", "aaaaaaaaaa", "c", "dd", "bb", "e", "f"]
    script = Script([(200, {}, INFO), *((200, {}, _vectors(*[ONE] * n)) for n in (1, 3, 2))])
    assert script.embed(texts).shape == (7, 2)
    assert [each["inputs"] for each in script.asked] == [
        ["aaaaaaaaaa"],
        ["bb", "dd", "c"],
        ["e", "f"],
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_vectors(ONE, ONE), "answered 2 vectors for 1 texts"),
        (_vectors("AACAPw=="), "not of 2 dimensions"),
        (_vectors("AAA="), "not what a Polygrain service answers"),
        ({"data": []}, "not what a Polygrain service answers"),
        (_vectors(ONE, model="other"), "now serves 'other' and not 'made'; start again"),
        (b"<html>", "answered 200: no JSON of a Polygrain service"),
        (["a list"], "no JSON of a Polygrain service"),
    ],
)
def test_an_answer_that_is_not_right_is_refused(answer: object, message: str) -> None:
    script = Script([(200, {}, INFO), (200, {}, answer)])
    with pytest.raises(TrainingError, match=message):
        script.embed(["a"])


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x/?q"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(TrainingError, match=r"give one like http://127\.0\.0\.1:8080"):
        ServiceEncoder.open(url)


def test_where_nothing_listens_or_something_else_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TrainingError, match=r"does not answer .*; is the service running"):
        ServiceEncoder.open(f"http://127.0.0.1:{port}")
    for info, message in (
        ({**INFO, "routing": {}}, "/info is not what"),
        ({}, "/info is not what"),
    ):
        script = Script([(200, {}, info)])
        with script.serve() as url, pytest.raises(TrainingError, match=message):
            ServiceEncoder.open(url)
