"""Messages between a worker and its supervisor, over the socket pair that joins them.

A message is a line of JSON: a list of words, the first of which says what it is.
"""

from __future__ import annotations

import json
import socket
import threading

_READ_BYTES = 65_536


class Control:
    """One end: messages go out whole, from any thread, and come in from one."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._lock = threading.Lock()
        self._begun = b""

    def fileno(self) -> int:
        """For a selector to wait on."""
        return self.socket.fileno()

    def send(self, *words: str) -> None:
        """Send one message; ConnectionError where the other side has ended."""
        with self._lock:
            self.socket.sendall(json.dumps(words).encode() + b"\n")

    def receive(self) -> list[list[str]] | None:
        """Wait for what comes: the messages that are whole by then; None after the last."""
        try:
            read = self.socket.recv(_READ_BYTES)
        except ConnectionError:
            read = b""
        if not read:
            return None
        *lines, self._begun = (self._begun + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Let the other side see the end."""
        self.socket.close()
