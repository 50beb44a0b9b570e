"""From results to bytes, without holding up the event loop: what the handlers answer with."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from service.encoding.encoder import Facts
from service.encoding.session import Vectors

# How many values are written before other requests get their turn: about half a millisecond's.
# Writing holds the interpreter's lock, so a thread would hold the others up just as much
# (`python -m benchmarks.edges` measures both).
TURN_VALUES = 32_768


@dataclass(frozen=True, slots=True)
class Long:
    """A list of an answer that may be long, made and written piece by piece.

    `piece(start, stop)` makes the items; an item holds about `width` values.
    """

    length: int
    width: int
    piece: Callable[[int, int], Any]

    @property
    def is_short(self) -> bool:
        """Whether it is written in one turn."""
        return self.length * self.width <= TURN_VALUES

    def pieces(self) -> Iterator[Any]:
        """All items in order, some at a time."""
        step = max(1, TURN_VALUES // max(1, self.width))
        for start in range(0, self.length, step):
            yield self.piece(start, min(start + step, self.length))


def write_json(value: object) -> bytes:
    """`value` as JSON; arrays of numpy are lists, float32 in the fewest digits that keep it."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


async def json_response(content: Mapping[str, Any]) -> Response:
    """`content` as a JSON response, its `Long` lists included.

    The bytes are those of one call of the writer; a long list only leaves turns to other requests.
    """
    if all(value.is_short for value in content.values() if isinstance(value, Long)):
        whole = {
            key: value.piece(0, value.length) if isinstance(value, Long) else value
            for key, value in content.items()
        }
        return Response(write_json(whole), media_type="application/json")
    body = bytearray(b"{")
    for key, value in content.items():
        body += b"," if len(body) > 1 else b""
        body += write_json(key) + b":"
        if isinstance(value, Long):
            await _write_long(body, value)
        else:
            body += write_json(value)
    body += b"}"
    return Response(bytes(body), media_type="application/json")


async def list_response(content: Long) -> Response:
    """A JSON response that is one list."""
    body = bytearray()
    await _write_long(body, content)
    return Response(bytes(body), media_type="application/json")


async def _write_long(body: bytearray, value: Long) -> None:
    body += b"["
    for number, piece in enumerate(value.pieces()):
        body += b"," if number else b""
        body += write_json(piece)[1:-1]
        await asyncio.sleep(0)
    body += b"]"


async def binary_response(head: Mapping[str, Any], rows: np.ndarray[Any, Any]) -> Response:
    """One line of JSON, filled up with spaces to a multiple of 64 bytes, then the rows as they are.

    Little-endian, row after row, nothing between them.
    """
    line = (await json_response(head)).body
    filled = bytes(line) + b" " * (-(len(line) + 1) % 64) + b"\n"
    array = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    return Response(filled + array.tobytes(), media_type="application/octet-stream")


def base64_of(row: Vectors) -> str:
    """The values of `row` as base64 of little-endian float32."""
    values = np.ascontiguousarray(row, "<f4")
    return binascii.b2a_base64(values.data, newline=False).decode("ascii")


def facts_json(facts: Facts) -> dict[str, Any]:
    """How a text was embedded, as every response tells it."""
    return {
        "granularity": facts.granularity,
        "adapter": facts.adapter,
        "tokens": facts.tokens,
        "truncated": facts.truncated,
    }
