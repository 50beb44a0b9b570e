"""A web server of the tests, on this machine, that can resume, cut and change what it serves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Web:
    """What is served by path, how, and what was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    # Every answer ends after so many bytes of its body.
    cut_after: int | None = None
    status: int | None = None
    has_etags: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range


@contextmanager
def serve() -> Iterator[Web]:
    """Serve a `Web` until the end of the `with`."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            web.asked.append((self.path, wanted))
            content = web.files.get(self.path)
            if content is None or web.status is not None:
                self.send_error(404 if web.status is None else web.status)
                return
            etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
            start = 0
            if wanted and web.has_etags and self.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if web.has_etags:
                self.send_header("ETag", etag)
            self.end_headers()
            self.wfile.write(content[start:][: web.cut_after])

        def log_message(self, *_: object) -> None:
            """Nothing: the tests' output is theirs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
