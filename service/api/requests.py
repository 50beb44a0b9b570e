"""From an HTTP request to checked values, and back to bytes: what the handlers share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect

from models.bundle import Granularity
from service.api.schemas import EACH, ONE, RequestModel
from service.encoding.encoder import Encoded, Engine, Facts, Options, Unit
from service.errors import (
    ClientGone,
    InvalidInput,
    MalformedRequest,
    NotReady,
    PolygrainError,
    TooLarge,
    UnsupportedMediaType,
    quote,
)
from service.settings import Settings
from service.telemetry import count

Model = TypeVar("Model", bound=RequestModel)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Service:
    """What handlers work with; `service.app` puts it into the application's state."""

    settings: Settings
    engine: Engine


def service_of(request: Request) -> Service:
    """The running service; NotReady before it has started and while it stops."""
    service: Service | None = getattr(request.app.state, "service", None)
    if service is None or not service.engine.ready:
        raise NotReady("the service is starting or stopping; try again in a few seconds")
    return service


async def read(request: Request, model: type[Model], settings: Settings) -> Model:
    """The request's body as `model`.

    Raises UnsupportedMediaType, TooLarge before more than the limit is held, MalformedRequest for
    what is not JSON, InvalidInput for the first value that is not allowed.
    """
    _check_media_type(request.headers.get("content-type"))
    body = await _read_body(request, settings.max_body_bytes)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        raise _translated(details, model) from None


def _check_media_type(value: str | None) -> None:
    # Strict on purpose: browsers send other types across origins without asking first, so a page
    # could otherwise use a service that listens on the reader's own machine.
    media_type, _, parameters = (value or "").partition(";")
    media_type = media_type.strip().lower()
    _, _, charset = parameters.lower().partition("charset=")
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json or charset.strip(' "') not in ("", "utf-8", "utf8"):
        came = "missing" if value is None else quote(value)
        raise UnsupportedMediaType(
            f"Content-Type is {came}; send JSON in UTF-8 with Content-Type: application/json"
        )


async def _read_body(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _body_too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _body_too_large(limit)
    except ClientDisconnect:
        raise ClientGone("the client closed the connection while it sent the body") from None
    return bytes(body)


def _body_too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {limit} bytes (POLYGRAIN_MAX_BODY_BYTES); "
        "send the texts in several requests"
    )


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled as soon as the client closes its connection.

    The body must have been read. Raises ClientGone where the client was first.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client closed the connection before the answer")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def units_of(
    lists: Mapping[str, Sequence[str]], granularity: str, settings: Settings
) -> list[list[Unit]]:
    """The texts of each list, by the name of its field, as units of one granularity.

    Raises InvalidInput for an empty list and TooLarge beyond the limits, before any text is read.
    """
    for field, texts in lists.items():
        if not texts:
            raise InvalidInput(f"{field} is an empty list; send at least one text", field)
    check_sizes(lists, settings)
    chosen = None if granularity == "auto" else Granularity(granularity)
    return [
        [Unit(text, f"{field}[{index}]", chosen) for index, text in enumerate(texts)]
        for field, texts in lists.items()
    ]


async def encode_both(
    request: Request, service: Service, lists: Mapping[str, Sequence[str]], granularity: str
) -> tuple[Encoded, int]:
    """The texts of two lists, encoded so that they compare, and how many the first list has."""
    first, second = units_of(lists, granularity, service.settings)
    count(request, items=len(first) + len(second))
    work = service.engine.encode(first + second, Options(comparable=True))
    encoded = await unless_gone(request, work)
    count(request, tokens=encoded.tokens)
    return encoded, len(first)


def check_sizes(lists: Mapping[str, Sequence[str]], settings: Settings) -> None:
    """Raise TooLarge where a request has too many texts, all lists together, or too long ones."""
    count = sum(map(len, lists.values()))
    if count > settings.max_items:
        raise TooLarge(
            f"the request has {count} texts; at most {settings.max_items} are allowed "
            "(POLYGRAIN_MAX_ITEMS): send them in several requests",
            param=next(iter(lists)),
        )
    for field, texts in lists.items():
        for index, text in enumerate(texts):
            if len(text) > settings.max_item_characters:
                raise TooLarge(
                    f"{field}[{index}] has {len(text)} characters; at most "
                    f"{settings.max_item_characters} are allowed (POLYGRAIN_MAX_ITEM_CHARACTERS): "
                    "split it",
                    param=f"{field}[{index}]",
                )


def facts_json(facts: Facts) -> dict[str, Any]:
    """How a text was embedded, as every response tells it."""
    return {
        "granularity": facts.granularity,
        "adapter": facts.adapter,
        "tokens": facts.tokens,
        "truncated": facts.truncated,
    }


def common_json(service: Service, encoded: Encoded) -> dict[str, Any]:
    """What responses on compared texts have in common: the model, its adapter and the usage."""
    adapters = {(facts.granularity, facts.adapter) for facts in encoded.facts}
    granularity, adapter = adapters.pop() if len(adapters) == 1 else (None, None)
    return {
        "model": service.engine.encoder.manifest.name,
        "granularity": granularity,
        "adapter": adapter,
        "usage": {"tokens": encoded.tokens},
    }


def json_response(content: dict[str, Any]) -> Response:
    """`content`, arrays included, as a JSON response."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


def _translated(error: ErrorDetails, model: type[RequestModel]) -> PolygrainError:
    """A validation error of pydantic in this API's words."""
    kind, value = error["type"], error["input"]
    if kind == "json_invalid":
        reason = error["ctx"]["error"]
        # What the parser says of half a surrogate pair tells nobody what is wrong.
        hint = "; escapes from \\ud800 to \\udfff stand in pairs" if "hex escape" in reason else ""
        return MalformedRequest(f"the body is not JSON in UTF-8: {reason}{hint}")
    param = _path(error["loc"])
    fields = ", ".join(model.model_fields)
    if kind == "extra_forbidden":
        return InvalidInput(f"unknown field {param}; the fields are {fields}", param)
    if kind == "missing":
        return InvalidInput(f"field {param} is missing; the fields are {fields}", param)
    if kind == "model_type":
        return InvalidInput(f"the body is {_kind(value)}; send an object with {fields}")
    if kind == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return InvalidInput(f"{param} is {_said(value)}; use one of {allowed}", param)
    if kind in _EXPECTED:
        or_list = ", or a list of them" if ONE in error["loc"] else ""
        return InvalidInput(
            f"{param} is {_kind(value)}; it must be {_EXPECTED[kind]}{or_list}", param
        )
    reason = error["msg"][:1].lower() + error["msg"][1:]
    return InvalidInput(f"{param} is {_said(value)}: {reason}", param)


_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
}

_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "something else")


def _said(value: object) -> str:
    return _kind(value) if isinstance(value, list | dict) else quote(value)


def _path(location: tuple[int | str, ...]) -> str:
    """A field's place as a caller writes it, such as `inputs[3]`; a long name is cut."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in (ONE, EACH):
            path += f".{part}" if path else part
    return path if len(path) <= 100 else path[:100] + "…"
