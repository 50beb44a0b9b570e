"""From an HTTP request to checked values: what the handlers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from models.bundle import Granularity
from service.api.schemas import RequestModel
from service.api.validation import translated
from service.encoding.encoder import Encoded, Engine, Options, Unit
from service.errors import (
    ClientGone,
    InvalidInput,
    NotReady,
    TooLarge,
    UnsupportedMediaType,
    quote,
)
from service.jobs.folder import Jobs
from service.jobs.runner import Runner
from service.retrieval.work import CollectionWork
from service.settings import Settings
from service.telemetry import count

Model = TypeVar("Model", bound=RequestModel)
Result = TypeVar("Result")

# More texts than this are looked at in a thread: one by one they take a millisecond and more.
_TURN_TEXTS = 512


@dataclass(frozen=True, slots=True)
class Service:
    """What handlers work with; `service.app` puts it into the application's state."""

    settings: Settings
    engine: Engine
    collections: CollectionWork
    jobs: Jobs
    runner: Runner


def service_of(request: Request) -> Service:
    """The running service; NotReady before it has started and while it stops.

    One and the same throughout a request, whichever bundle others are given meanwhile.
    """
    service: Service | None = getattr(request.state, "service", None)
    if service is None or not service.engine.ready:
        raise NotReady("the service is starting or stopping; try again in a few seconds")
    return service


async def read(request: Request, model: type[Model], settings: Settings) -> Model:
    """The request's body as `model`.

    Raises UnsupportedMediaType, TooLarge before more than the limit is held, MalformedRequest for
    what is not JSON, InvalidInput for the first value that is not allowed.
    """
    return parse(await read_body(request, settings), model)


async def read_body(request: Request, settings: Settings) -> bytes:
    """The request's body, which says that it is JSON; see `read`."""
    _check_media_type(request.headers.get("content-type"))
    return await _read_body(request, settings.max_body_bytes)


def parse(body: bytes, model: type[Model]) -> Model:
    """A body as `model`; see `read`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        raise translated(details, model) from None


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
    working = asyncio.current_task()
    assert working is not None
    watch = asyncio.create_task(_cancel_once_gone(request, working))
    try:
        return await work
    except asyncio.CancelledError:
        # Ours, or that of whoever cancelled the whole request.
        if watch.done() and not watch.cancelled() and working.uncancel() == 0:
            raise ClientGone("the client closed the connection before the answer") from None
        raise
    finally:
        watch.cancel()


async def _cancel_once_gone(request: Request, working: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    working.cancel()


async def in_turn(texts: int, function: Callable[[], Result]) -> Result:
    """What `function` makes of so many texts: here for few, in a thread for many."""
    return await asyncio.to_thread(function) if texts > _TURN_TEXTS else function()


def units_of(
    lists: Mapping[str, Sequence[str]],
    granularity: str,
    settings: Settings,
    adapter: str | None = None,
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
        [Unit(text, f"{field}[{index}]", chosen, adapter) for index, text in enumerate(texts)]
        for field, texts in lists.items()
    ]


async def encode_both(
    request: Request, service: Service, lists: Mapping[str, Sequence[str]], granularity: str
) -> tuple[Encoded, int]:
    """The texts of two lists, encoded so that they compare, and how many the first list has."""
    first, second = await in_turn(
        sum(map(len, lists.values())), lambda: units_of(lists, granularity, service.settings)
    )
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


def common_json(service: Service, encoded: Encoded) -> dict[str, Any]:
    """What responses on compared texts have in common: the model, its adapter and the usage."""
    adapters = {(facts.granularity, facts.adapter) for facts in encoded.facts}
    return adapters_json(service, adapters, encoded.tokens)


def adapters_json(
    service: Service, adapters: set[tuple[Granularity, str]], tokens: int
) -> dict[str, Any]:
    """The model, the one of the granularities and adapters used, if there is one, and the usage."""
    granularity, adapter = next(iter(adapters)) if len(adapters) == 1 else (None, None)
    return {
        "model": service.engine.encoder.manifest.name,
        "granularity": granularity,
        "adapter": adapter,
        "usage": {"tokens": tokens},
    }
