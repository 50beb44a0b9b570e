"""Which HTTP server and event loop: an echo of 384 floats, without a model.

    python -m benchmarks.http_servers [--rounds N] [--seconds S]

starts each server in turn, one process each, and loads it over keep-alive connections; prints
requests a second, the server's CPU time a request, and the ratio to the service's own choice.
granian is compared where it is installed (`pip install granian`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import click
import numpy as np
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.usage import Tree
from service.api.responses import write_json

_ROW = np.random.default_rng(0).normal(size=384).astype(np.float32)
_BODY = json.dumps({"inputs": "Reykjavík"}, ensure_ascii=False).encode()
_REQUEST = (
    b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
CLIENTS = (1, 16)
_START_S = 20.0


async def _echo(request: Request) -> Response:
    await request.body()
    return Response(write_json({"embedding": _ROW}), media_type="application/json")


app = Starlette(routes=[Route("/embed", _echo, methods=["POST"])])

_UVICORN = "-m uvicorn benchmarks.http_servers:app --no-access-log --log-level warning --port"
_GRANIAN = (
    "-m granian benchmarks.http_servers:app --interface asgi --loop uvloop --log-level warning"
    " --no-access-log --port"
)
SERVERS = {
    "uvicorn, httptools, uvloop": f"{_UVICORN} PORT --http httptools --loop uvloop",
    "uvicorn, httptools, asyncio": f"{_UVICORN} PORT --http httptools --loop asyncio",
    "uvicorn, h11, uvloop": f"{_UVICORN} PORT --http h11 --loop uvloop",
}
if importlib.util.find_spec("granian"):
    SERVERS["granian, uvloop"] = f"{_GRANIAN} PORT"


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="alternations")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=3.0, help="of each load")
def main(rounds: int, seconds: float) -> None:
    """Load every server in turn, and print the table."""
    results: dict[tuple[str, int], list[Load]] = {}
    for _ in range(rounds):
        for name, command in SERVERS.items():
            for clients, load in _loads(command, seconds).items():
                results.setdefault((name, clients), []).append(load)
    first = next(iter(SERVERS))
    click.echo("| server | clients | requests/s | ratio | server's CPU, µs a request | ratio |")
    click.echo("|---|---|---|---|---|---|")
    for (name, clients), own in results.items():
        base = results[first, clients]
        pairs = list(zip(own, base, strict=True))
        rate = statistics.median(one.rate / other.rate for one, other in pairs)
        cost = statistics.median(one.cpu_us / other.cpu_us for one, other in pairs)
        requests = statistics.median(load.rate for load in own)
        micros = statistics.median(load.cpu_us for load in own)
        click.echo(
            f"| {name} | {clients} | {requests:.0f} | {rate:.2f} | {micros:.0f} | {cost:.2f} |"
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What one load of a server gave."""

    rate: float  # requests a second
    cpu_us: float  # of the server and its children, a request


def _loads(command: str, seconds: float) -> dict[int, Load]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    arguments = [sys.executable, *command.replace("PORT", str(port)).split()]
    # In a session of its own, to count the children too, which is where granian serves.
    process = subprocess.Popen(arguments, start_new_session=True)
    tree = Tree(process.pid)
    try:
        _wait_for(port)
        uvloop.run(_requests(port, 1, 0.2))  # warm
        loads = {}
        for clients in CLIENTS:
            before = tree.cpu_s()
            done, elapsed = uvloop.run(_requests(port, clients, seconds))
            spent = tree.cpu_s() - before
            loads[clients] = Load(done / elapsed, spent / done * 1e6)
        return loads
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_S)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@dataclass(slots=True)
class _Client(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole."""

    done: int = 0
    _size: int = 0
    _received: bytearray = field(default_factory=bytearray)
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, no subclass
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._size and b"\r\n\r\n" in self._received:
            head, _, _ = bytes(self._received).partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"the server answered {head[:80]!r}")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self._size = len(head) + 4 + int(length)
        if self._size and len(self._received) >= self._size:
            del self._received[: self._size]
            self._size = 0
            self.done += 1
            if self._transport is not None:
                self._transport.write(_REQUEST)


async def _requests(port: int, clients: int, seconds: float) -> tuple[int, float]:
    """How many requests that many clients had answered, and in how many seconds."""
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(_Client, "127.0.0.1", port) for _ in range(clients)]
    started, before = time.perf_counter(), sum(client.done for _, client in pairs)
    await asyncio.sleep(seconds)
    done, elapsed = sum(client.done for _, client in pairs), time.perf_counter() - started
    for transport, _ in pairs:
        transport.abort()
    if done == before:
        raise RuntimeError(f"the server on port {port} answered nothing in {seconds} s")
    return done - before, elapsed


if __name__ == "__main__":
    main()
