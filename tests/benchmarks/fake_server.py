"""An HTTP server in a thread that answers as a test tells it to, and remembers what came."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Self

PATIENCE_S = 30.0

# From the request's body to the status and body of the answer.
Answer = Callable[[bytes], Awaitable[tuple[int, bytes]]]


class FakeServer:
    """A kept-alive HTTP/1.1 server on a free port; it sends `piece` bytes at a time."""

    def __init__(self, answer: Answer, piece: int | None = None) -> None:
        self._answer, self._piece = answer, piece
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.port = 0
        # The bodies in the order in which they came, and how many were unanswered at most.
        self.bodies: list[bytes] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        # The transports close in the loop's next turns.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await self._one(await reader.readexactly(length), writer)
                if b"connection: close" in head.lower():
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        status, content = await self._answer(body)
        self.in_flight -= 1
        head = f"HTTP/1.1 {status} X\r\nServer: fake\r\nContent-Length: {len(content)}\r\n\r\n"
        whole = head.encode() + content
        step = self._piece or len(whole)
        for at in range(0, len(whole), step):
            writer.write(whole[at : at + step])
            await writer.drain()
            if self._piece:
                await asyncio.sleep(0.001)
