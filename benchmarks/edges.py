"""What the HTTP edge costs around the model: reading, writing, the framework, a blocked loop.

    python -m benchmarks.edges [--rounds N]

times each way against the first of its group, the ways in turn on the same data, and prints the
medians of their ratios with quartiles; below 1 is quicker than the service's own way. msgspec is
compared where it is installed; nothing else here needs it. The last table is the longest time
that other requests wait while one large body is read or one large answer is written.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import click
import numpy as np
import orjson
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.bundle import Granularity
from service.api.embed import _data
from service.api.responses import json_response, write_json
from service.api.schemas import EmbedRequest
from service.encoding.encoder import Encoded, Facts
from service.encoding.session import Vectors

Ways = Mapping[str, Callable[[], object]]

SENTENCE = "Die Katze schläft auf der Matte, während es draußen regnet."
TEXTS: dict[str, str | list[str]] = {
    "1 phrase": "Reykjavík",
    "32 sentences": [SENTENCE] * 32,
    "2,048 paragraphs": [SENTENCE * 8] * 2_048,
}
DIMENSION = 384
# Of one measurement, so that a call of a microsecond is measured as well.
_LEAST_S = 0.004


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(min=5), default=15, help="alternations of each group")
def main(rounds: int) -> None:
    """Measure every group and print its table."""
    for name, texts in TEXTS.items():
        for escaped in (False, True):
            body = json.dumps({"inputs": texts}, ensure_ascii=escaped).encode()
            how = "all escaped" if escaped else "UTF-8"
            _compare(f"read {name}, {how}, {len(body):,} bytes", readers(body), rounds)
    for count in (1, 32, 2_048):
        _compare(f"write {count:,} x {DIMENSION}", writers(_encoded(count)), rounds)
    with asyncio.Runner() as runner:
        _compare(f"{_REQUESTS} requests through", frameworks(runner), rounds)
        click.echo("\n| longest wait of others, ms | median of rounds |\n|---|---|")
        for name, work in blockers().items():
            waits = [runner.run(longest_wait_s(work)) for _ in range(rounds)]
            click.echo(f"| {name} | {statistics.median(waits) * 1e3:.1f} |")


def _compare(title: str, ways: Ways, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_time_s(way))
    first = next(iter(times.values()))
    click.echo(f"\n| {title} | µs | ratio (quartiles) |\n|---|---|---|")
    for name, own in times.items():
        ratios = [one / other for one, other in zip(own, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        micros = statistics.median(own) * 1e6
        click.echo(f"| {name} | {micros:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


def _time_s(way: Callable[[], object]) -> float:
    calls, elapsed = 0, 0.0
    started = time.perf_counter()
    while elapsed < _LEAST_S:
        way()
        calls += 1
        elapsed = time.perf_counter() - started
    return elapsed / calls


def readers(body: bytes) -> Ways:
    """Ways from the bytes of a request to checked values, the service's own first."""
    ways: dict[str, Callable[[], object]] = {
        "pydantic from bytes": lambda: EmbedRequest.model_validate_json(body),
        "orjson, then pydantic": lambda: EmbedRequest.model_validate(orjson.loads(body)),
    }
    if importlib.util.find_spec("msgspec"):
        import msgspec

        names = list(EmbedRequest.model_fields)
        kinds = [str | list[str], str | list[str], str | None, bool, str, int | None, str]
        defaults = ["auto", None, True, "window", None, "float"]
        struct = msgspec.defstruct(
            "Embed",
            [(names[0], kinds[0]), *zip(names[1:], kinds[1:], defaults, strict=True)],
            forbid_unknown_fields=True,
            frozen=True,
        )
        decoder = msgspec.json.Decoder(struct)
        ways["msgspec"] = lambda: decoder.decode(body)
    return ways


def _encoded(count: int) -> Encoded:
    vectors = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encoded(vectors, (Facts(Granularity.SENTENCE, "sentence", 12, False),) * count)


def _answer(encoded: Encoded, write: Callable[[Vectors], object]) -> dict[str, Any]:
    data = [
        {"index": n, "embedding": write(row), "granularity": "sentence", "adapter": "sentence"}
        for n, row in enumerate(encoded.vectors)
    ]
    return {"model": "m", "dimensions": DIMENSION, "data": data, "usage": {"tokens": 12}}


def writers(encoded: Encoded) -> Ways:
    """Ways from vectors to the bytes of an answer, the service's own first."""

    def packed(row: Vectors) -> str:
        return base64.b64encode(row.astype("<f4").tobytes()).decode()

    ways: dict[str, Callable[[], object]] = {
        "orjson, arrays": lambda: write_json(_answer(encoded, lambda row: row)),
        "orjson, lists": lambda: orjson.dumps(_answer(encoded, lambda row: row.tolist())),
        "json, lists": lambda: json.dumps(_answer(encoded, lambda row: row.tolist())),
        "orjson, base64": lambda: write_json(_answer(encoded, packed)),
        "octet-stream": encoded.vectors.tobytes,
    }
    if importlib.util.find_spec("msgspec"):
        import msgspec

        encode = msgspec.json.Encoder().encode
        ways["msgspec, lists"] = lambda: encode(_answer(encoded, lambda row: row.tolist()))
    return ways


class _Item(BaseModel):
    index: int
    embedding: list[float]


class _Items(BaseModel):
    data: list[_Item]


def frameworks(runner: asyncio.Runner) -> Ways:
    """One phrase in, 384 floats out, through the layers that a framework puts in between."""
    row = _encoded(1).vectors[0]

    async def handle(request: Request) -> Response:
        EmbedRequest.model_validate_json(await request.body())
        body = write_json({"data": [{"index": 0, "embedding": row}]})
        return Response(body, media_type="application/json")

    async def handle_fastapi(request: FastAPIRequest) -> Response:
        return await handle(request)

    async def handle_models(body: EmbedRequest) -> _Items:
        return _Items(data=[_Item(index=0, embedding=row.tolist())])

    fastapi, models = FastAPI(), FastAPI()
    fastapi.post("/embed")(handle_fastapi)
    models.post("/embed")(handle_models)
    starlette = Starlette(routes=[Route("/embed", handle, methods=["POST"])])

    async def bare(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await (await handle(Request(scope, receive)))(scope, receive, send)

    apps: dict[str, Any] = {
        "Starlette": starlette,
        "nothing": bare,
        "FastAPI, plain handler": fastapi,
        "FastAPI, models in and out": models,
    }
    return {name: partial(_run, runner, app) for name, app in apps.items()}


def _run(runner: asyncio.Runner, app: Any) -> None:  # noqa: ANN401
    runner.run(_many(app))


# Requests of one measurement of a framework; the times are of so many together.
_REQUESTS = 50


async def _many(app: Any) -> None:  # noqa: ANN401
    body = json.dumps({"inputs": TEXTS["1 phrase"]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(f"the application answered {message['status']}")

    for _ in range(_REQUESTS):
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/embed",
            "root_path": "",
        }
        scope |= {"headers": headers, "query_string": b"", "http_version": "1.1"}
        await app(scope, receive, send)


def blockers() -> dict[str, Callable[[], Awaitable[object]]]:
    """Ways to read a large body and to write a large answer, beside other requests."""
    body = json.dumps({"inputs": TEXTS["2,048 paragraphs"]}, ensure_ascii=False).encode()
    encoded = _encoded(2_048)
    request = EmbedRequest(inputs="")

    def read() -> object:
        return EmbedRequest.model_validate_json(body)

    def write() -> bytes:
        return write_json(_answer(encoded, lambda row: row))

    async def here(function: Callable[[], object]) -> object:
        return function()

    return {
        f"read {len(body):,} bytes here": lambda: here(read),
        f"read {len(body):,} bytes in a thread": lambda: asyncio.to_thread(read),
        "write 2,048 vectors here": lambda: here(write),
        "write 2,048 vectors in a thread": lambda: asyncio.to_thread(write),
        "write 2,048 vectors in turns (the service)": lambda: json_response(
            {"data": _data(encoded, encoded.vectors, request)}
        ),
    }


async def longest_wait_s(work: Callable[[], Awaitable[object]]) -> float:
    """How long, at most, another task of the loop waited for its turn while `work` ran."""
    longest, running = 0.0, True

    async def others() -> None:
        nonlocal longest
        before = time.perf_counter()
        while running:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now

    watching = asyncio.create_task(others())
    await asyncio.sleep(0)
    await work()
    running = False
    await watching
    return longest


if __name__ == "__main__":
    main()
