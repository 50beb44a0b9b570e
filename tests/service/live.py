"""A service of its own for a test: in a thread, on a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from service.app import create_app
from service.encoding.encoder import Encoder
from service.server import BoundedHead
from service.settings import Settings
from tests.fakes import PATIENCE_S


@contextmanager
def serving(encoder: Encoder, settings: Settings) -> Iterator[str]:
    """A uvicorn server in a thread, on a free port of the loopback; yields its address."""
    config = uvicorn.Config(
        create_app(settings, encoder), log_config=None, lifespan="on", http=BoundedHead, ws="none"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
