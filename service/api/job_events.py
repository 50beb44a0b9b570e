"""GET /jobs/{id}/events: what becomes of a job, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.api.files import moment
from service.api.job_requests import job_of
from service.api.job_responses import described
from service.api.requests import Service, service_of
from service.api.responses import write_json
from service.errors import InvalidInput, quote
from service.jobs.store import Job, Transition

EVENTS = "text/event-stream"

# How often the job is looked at, and after how long without news a comment keeps the connection.
_LOOK_S = 0.25
_SILENCE_S = 15.0
# What a client is asked to wait before it connects again.
_RETRY_MS = 1_000


async def events(request: Request) -> Response:
    """A `state` event for each state that the job comes into and `progress` in between, to its end.

    `progress` holds the whole job. A client that was cut off and sends Last-Event-ID gets the
    states that it missed; 204, which tells it to stop, where it has seen the last.
    """
    service, id_ = service_of(request), request.path_params["id"]
    last = _last_event(request)
    job = await job_of(request)
    if job.ended and last >= job.revision:
        return Response(status_code=204)
    return StreamingResponse(
        _events(request, service, id_, last),
        media_type=EVENTS,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _last_event(request: Request) -> int:
    value = request.headers.get("last-event-id", "0")
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InvalidInput(
            f"Last-Event-ID is {quote(value)}; send the id of an event, or leave it out",
            "Last-Event-ID",
        )
    return int(value)


async def _events(request: Request, service: Service, id_: str, last: int) -> AsyncIterator[bytes]:
    store = service.jobs.store
    yield f"retry: {_RETRY_MS}\n\n".encode()
    told_s = time.monotonic()

    def news() -> tuple[Job, list[Transition]]:
        job = store.get(id_)  # first: what comes after it is told the next time
        return job, [each for each in store.transitions(id_, last) if each.revision <= job.revision]

    while True:
        job, transitions = await asyncio.to_thread(news)
        for each in transitions:
            # The last event has the highest id, which is that of the whole job.
            yield _event("state", each.revision, {"state": each.state, "at": moment(each.at)})
        if job.revision > last:
            last, told_s = job.revision, time.monotonic()
            yield _event("progress", last, described(job, service.settings))
        if job.ended or request.app.state.is_stopping():
            return  # the client comes again
        if time.monotonic() - told_s > _SILENCE_S:
            told_s = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(_LOOK_S)


def _event(name: str, id_: int, data: object) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), id_, write_json(data))
