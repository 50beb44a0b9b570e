"""Spans of requests, and nothing of OpenTelemetry where none are asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from models.bundle import Bundle
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A collector on a socket: its address, and the spans that it was sent."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in sent.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
        server.shutdown()
        thread.join()


def _attributes(span: Any) -> dict[str, Any]:  # noqa: ANN401
    values = {item.key: item.value for item in span.attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}


def test_each_request_is_a_span_of_the_callers_trace_sent_by_the_end(
    encoder: Encoder, collector: tuple[str, list[Any]]
) -> None:
    endpoint, spans = collector
    with TestClient(create_app(Settings(traces_endpoint=endpoint), encoder)) as client:
        headers = {"traceparent": f"00-{_TRACE}-b7ad6b7169203331-01", "X-Request-ID": "r1"}
        client.post("/embed", json={"inputs": ["secretword", "a"]}, headers=headers)
        client.post("/embed", json={"inputs": ""})
        client.get("/nowhere/secretword")
    first, second, third = spans
    assert (first.name, first.trace_id.hex()) == ("POST /embed", _TRACE)
    assert first.parent_span_id.hex() == "b7ad6b7169203331"
    assert _attributes(first) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/embed",
        "polygrain.request_id": "r1",
        "polygrain.items": 2,
        "polygrain.tokens": 15,
        "polygrain.key": "-",
    }
    assert second.trace_id.hex() != _TRACE
    assert _attributes(second)["http.response.status_code"] == 422
    assert third.name == "GET"
    assert "secretword" not in str(spans)


def test_nothing_is_imported_where_no_traces_are_asked_for(tiny_bundle: Bundle) -> None:
    program = f"""
import sys
from pathlib import Path
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings

create_app(Settings(), Encoder.open(Path({str(tiny_bundle.path)!r}), threads=1))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "service.tracing"))])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout == "[]\n"


def test_a_missing_extra_is_one_line(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'polygrain\[otel\]'"):
        create_app(Settings(traces_endpoint="http://localhost:4318/v1/traces"), encoder)
