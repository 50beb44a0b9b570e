"""One kept-alive HTTP/1.1 connection, as cheap as Python allows: the load shares the cores."""

from __future__ import annotations

import socket
from dataclasses import dataclass

# Shared by all connections, since each is read to the end of what has come before the next.
_BUFFER = bytearray(1 << 18)
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of a request, made before anything is timed, and how many texts are in it."""

    content: bytes
    texts: int


class Connection:
    """A connection that carries one request at a time."""

    __slots__ = ("_head", "_missing", "_status", "_unsent", "is_busy", "sent_s", "socket", "texts")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        # From when the latency of the running request counts.
        self.sent_s = 0.0
        self.texts = 0
        self.is_busy = False
        self._unsent = memoryview(b"")
        self._head = b""
        self._missing = -1
        self._status = 0

    def send(self, request: Request, counted_from_s: float) -> bool:
        """Begin a request; whether all of it went out, else call `flush` when there is room."""
        self.sent_s = counted_from_s
        self.texts = request.texts
        self.is_busy = True
        self._head, self._missing = b"", -1
        self._unsent = memoryview(request.content)
        return self.flush()

    def flush(self) -> bool:
        """Send what is left of the request; whether nothing is."""
        while self._unsent:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except BlockingIOError:
                return False
        return True

    def receive(self) -> int:
        """Read what has come: the answer's status once all of it is here, else 0.

        Raises ConnectionError where the server closes the connection, and ValueError for an answer
        of unknown length.
        """
        while True:
            try:
                count = self.socket.recv_into(_BUFFER)
            except BlockingIOError:
                return 0
            if not count:
                raise ConnectionResetError("the server closed a connection that awaits its answer")
            if self._missing >= 0:
                self._missing -= count
            else:
                self._take_head(count)
            if not self._missing:
                self.is_busy = False
                return self._status

    def _take_head(self, count: int) -> None:
        if self._head:  # the head came in parts, which is rare
            self._head += bytes(_BUFFER[:count])
            end = self._head.find(_HEAD_END)
            head, come = self._head, len(self._head)
        else:
            end = _BUFFER.find(_HEAD_END, 0, count)
            head, come = bytes(_BUFFER[: end if end >= 0 else count]), count
        if end < 0:
            self._head = head
            return
        self._status, length = read_head(head[:end])
        self._missing = length - (come - end - len(_HEAD_END))


def read_head(head: bytes) -> tuple[int, int]:
    """Status and body length of an answer's head; ValueError where it gives no length."""
    lower = head.lower()
    start = lower.find(_LENGTH)
    if start < 0:
        raise ValueError(f"the answer has no Content-Length: {head[:300]!r}")
    start += len(_LENGTH)
    end = lower.find(b"\r\n", start)
    return int(head[9:12]), int(lower[start : end if end >= 0 else len(lower)])
