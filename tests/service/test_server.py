"""The server as it runs: real sockets, real processes, real signals."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from models.bundle import Bundle
from service.encoding.batching import Batcher, Priority
from service.encoding.encoder import Encoder
from service.encoding.session import Session, Vectors
from service.encoding.tokenizer import Row, Tokenizer
from service.settings import Settings
from tests.fakes import PATIENCE_S, FailingSession, gated_encoder
from tests.service.live import serving
from tests.service.serving_process import ServingProcess
from tests.tiny_bundle import VOCABULARY
from tests.waiting import wait_until

# A model behind a gate would hold the event loop, too.
QUEUED = Settings(lone_tokens=0)


def _send(address: str, texts: list[str]) -> socket.socket:
    """A connection on which an /embed request is on its way."""
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    body = json.dumps({"inputs": texts, "adapter": "sentence"}).encode()
    connection.sendall(
        b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    return connection


def _token(word: str) -> int:
    return VOCABULARY[word]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows in each request that has reached the queue."""
    counts: list[int] = []
    submit = Batcher.submit

    async def counting(self: Batcher, rows: Sequence[Row], priority: Priority) -> Vectors:
        counts.append(len(rows))
        return await submit(self, rows, priority)

    monkeypatch.setattr(Batcher, "submit", counting)
    return counts


def test_work_of_a_client_that_leaves_never_reaches_the_model(
    tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture, submitted: list[int]
) -> None:
    encoder, session = gated_encoder(tiny_bundle)
    caplog.set_level("INFO")
    with serving(encoder, QUEUED) as address, ThreadPoolExecutor() as threads:
        url = f"http://{address}/embed"
        try:
            first = threads.submit(httpx2.post, url, json={"inputs": "cat"}, timeout=PATIENCE_S)
            assert session.entered.wait(PATIENCE_S)
            leaver = _send(address, ["hund", "hund le"])
            wait_until(lambda: submitted == [1, 2])
            stayer = threads.submit(httpx2.post, url, json={"inputs": "dog"}, timeout=PATIENCE_S)
            wait_until(lambda: submitted == [1, 2, 1])
            leaver.close()
            wait_until(lambda: "status=499" in caplog.text)
        finally:
            session.gate.set()
        assert first.result().status_code == 200
        assert stayer.result().status_code == 200
    seen = {token for row in session.rows for token in row}
    assert _token("dog") in seen
    assert _token("hund") not in seen


def test_a_client_that_leaves_while_it_sends_disturbs_nobody(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serving(encoder, Settings()) as address:
        host, port = address.split(":")
        connection = socket.create_connection((host, int(port)))
        connection.sendall(
            b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 1000\r\n\r\n{"inputs": "'
        )
        connection.close()
        wait_until(lambda: "status=499" in caplog.text)
        answer = httpx2.post(f"http://{address}/embed", json={"inputs": "cat"}, timeout=PATIENCE_S)
        assert answer.status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_full_queue_is_429_with_the_time_to_wait(tiny_bundle: Bundle) -> None:
    encoder, session = gated_encoder(tiny_bundle)
    settings = Settings(queue_tokens=20, lone_tokens=0)
    with serving(encoder, settings) as address, ThreadPoolExecutor() as threads:
        url = f"http://{address}/embed"
        body = {"inputs": ["the cat sat on the mat", "the dog"], "granularity": "sentence"}
        try:
            first = threads.submit(httpx2.post, url, json=body, timeout=PATIENCE_S)
            assert session.entered.wait(PATIENCE_S)
            refused = httpx2.post(url, json={**body, "inputs": "le big red chat sat on the mat"})
        finally:
            session.gate.set()
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "overloaded_error"
        assert int(refused.headers["Retry-After"]) >= 1
        assert first.result().status_code == 200
        again = httpx2.post(url, json=body, timeout=PATIENCE_S)
        assert again.status_code == 200


def test_a_batch_that_fails_is_a_500_that_says_so_and_the_next_request_works(
    tiny_bundle: Bundle,
) -> None:
    session = FailingSession(Session.open(tiny_bundle, 1), [_token("katze")])
    encoder = Encoder(tiny_bundle, Tokenizer.open(tiny_bundle), session)
    with serving(encoder, Settings()) as address:
        url = f"http://{address}/embed"
        for _ in range(2):
            failed = httpx2.post(url, json={"inputs": "katze"}, timeout=PATIENCE_S)
            assert failed.status_code == 500
            error = failed.json()["error"]
            assert (error["type"], error["code"]) == ("internal_error", "inference_failed")
            assert "the model failed on the batch" in error["message"]
            assert "secret" not in failed.text
            works = httpx2.post(url, json={"inputs": "cat"}, timeout=PATIENCE_S)
            assert works.status_code == 200


def test_a_body_over_the_limit_is_answered_although_it_is_not_read(encoder: Encoder) -> None:
    with serving(encoder, Settings(max_body_bytes=1_000)) as address:
        url = f"http://{address}/embed"
        body = b'{"inputs": "' + b"a" * 3_000_000 + b'"}'
        headers = {"Content-Type": "application/json"}
        with httpx2.Client(timeout=PATIENCE_S) as client:
            for content in (body, iter([body[:500], body[500:]])):
                assert client.post(url, content=content, headers=headers).status_code == 413
            assert client.post(url, json={"inputs": "cat"}).status_code == 200


def test_a_body_declared_too_large_is_refused_before_it_is_sent(encoder: Encoder) -> None:
    with serving(encoder, Settings()) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
            connection.sendall(
                b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000000000\r\n\r\n"
            )
            assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")


def test_headers_without_end_are_refused(encoder: Encoder) -> None:
    with serving(encoder, Settings()) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
            # Two whole requests first: what they held counts no more.
            for path in (b"/livez", b"/readyz"):
                connection.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                assert b" 200 " in connection.recv(10_000)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
            answer, sent = b"", 0
            while not answer and sent < 2_000_000:
                sent += connection.send(b"X-More: " + b"a" * 9_000 + b"\r\n")
                answer = _received(connection)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert 65_536 <= sent <= 1_000_000
        assert httpx2.get(f"http://{address}/livez").status_code == 200


def _received(connection: socket.socket) -> bytes:
    """What has come within a moment; empty where nothing has."""
    connection.settimeout(0.05)
    try:
        return connection.recv(10_000)
    except TimeoutError:
        return b""
    finally:
        connection.settimeout(PATIENCE_S)


def test_a_large_body_has_no_limit_of_headers(encoder: Encoder) -> None:
    with serving(encoder, Settings()) as address:
        body = {"inputs": ["the cat sat on the mat " * 20] * 400}
        response = httpx2.post(f"http://{address}/embed", json=body, timeout=PATIENCE_S)
        assert response.status_code == 200


class _Process(ServingProcess):
    """A `polygrain serve` of its own, that infers when told."""

    def __init__(self, bundle: Bundle, *options: str) -> None:
        program = ("-m", "tests.service.stoppable_server")
        # Waiting to be told, the model would hold the event loop, too.
        queued = {"POLYGRAIN_LONE_TOKENS": "0"}
        super().__init__(bundle.path, *options, program=program, told=True, **queued)

    def infer_from_now_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # every read of a closed pipe returns at once


@pytest.fixture
def process(tiny_bundle: Bundle) -> Iterator[_Process]:
    process = _Process(tiny_bundle)
    yield process
    process.close()


def _accepts(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_what_was_accepted_and_exits_0(
    process: _Process, number: signal.Signals
) -> None:
    address = process.address
    with ThreadPoolExecutor() as threads:
        url = f"http://{address}/embed"
        answers = [
            threads.submit(httpx2.post, url, json={"inputs": text}, timeout=PATIENCE_S)
            for text in ("cat", "The dog sat.", "le chat. The dog sat.")
        ]
        try:
            wait_until(lambda: process.count("accepted") == 3 and process.said("inference"))
            process.process.send_signal(number)
            wait_until(lambda: not _accepts(address))
            assert not any(answer.done() for answer in answers)
        finally:
            process.infer_from_now_on()
        assert [answer.result().status_code for answer in answers] == [200] * 3
    assert process.process.wait(PATIENCE_S) == 0
    wait_until(lambda: process.said("stopped"))
    assert not process.said("Traceback")


def test_a_port_in_use_is_one_line(tiny_bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = _Process(tiny_bundle, "--port", port)
        try:
            assert process.process.wait(PATIENCE_S) == 1
        finally:
            process.close()
    assert process.lines == [
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another with --host and --port\n"
    ]
