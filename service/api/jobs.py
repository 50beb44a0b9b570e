"""/jobs: work on whole files, handed over now and fetched when it is done."""

from __future__ import annotations

import asyncio
from typing import get_args

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from service.api.collection_requests import BODY_ERRORS
from service.api.documentation import Operation
from service.api.files import TAG
from service.api.job_events import EVENTS, events
from service.api.job_requests import context_of, job_of, read_spec
from service.api.job_responses import described
from service.api.job_schemas import JobInfo, JobList, JobRequest, Removed, StateName
from service.api.requests import read_body, service_of
from service.api.responses import json_response
from service.errors import Conflict, InvalidInput, quote
from service.jobs.specs import MEDIA_TYPES
from service.jobs.store import ACTIVE, Job, State

__all__ = ["OPERATIONS", "context_of"]

_MOST_JOBS = 100


async def submit(request: Request) -> Response:
    """Queue a job; answered when that is on disk, so that it will be done whatever happens."""
    service = service_of(request)
    body = await read_body(request, service.settings)
    spec = await read_spec(service, body)
    job = await asyncio.to_thread(lambda: service.jobs.store.submit(spec))
    service.runner.wake()
    return await json_response(described(job, service.settings))


async def list_jobs(request: Request) -> Response:
    """Jobs, the youngest first, a page at a time."""
    service = service_of(request)
    states, limit = _states(request), _number(request, "limit", 1, _MOST_JOBS) or 20
    before = _number(request, "cursor", 1, 1 << 62)
    page = await asyncio.to_thread(
        lambda: service.jobs.store.page(states, before, limit + 1) if service.jobs.exist else []
    )
    cursor = str(page[limit - 1][0]) if len(page) > limit else None
    told = [described(job, service.settings) for _, job in page[:limit]]
    return await json_response({"jobs": told, "cursor": cursor})


def _states(request: Request) -> list[str]:
    value = request.query_params.get("state")
    if value is None:
        return [str(state) for state in State]
    states = value.split(",")
    allowed = get_args(StateName)
    if unknown := [state for state in states if state not in allowed]:
        raise InvalidInput(
            f"state is {quote(unknown[0])}; use some of {', '.join(allowed)}, with commas between",
            "state",
        )
    return states


def _number(request: Request, name: str, least: int, most: int) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and least <= int(value[:20]) <= most):
        raise InvalidInput(
            f"{name} is {quote(value)}; it must be a number from {least} to {most}", name
        )
    return int(value)


async def describe(request: Request) -> Response:
    """A job as it is now."""
    service = service_of(request)
    return await json_response(described(await job_of(request), service.settings))


async def cancel(request: Request) -> Response:
    """End a job where it is; what it has done is kept. One that is being cancelled stays so."""
    service = service_of(request)
    id_ = request.path_params["id"]

    def move() -> Job:
        since = [state for state in ACTIVE if state is not State.CANCELLING]
        service.jobs.store.move(id_, since, State.CANCELLING)
        return service.jobs.store.get(id_)

    job = await asyncio.to_thread(move)
    if job.state in (State.COMPLETED, State.FAILED):
        raise Conflict(f"job {id_} is {job.state}; there is nothing left to cancel", "id")
    service.runner.wake()
    return await json_response(described(job, service.settings))


async def delete(request: Request) -> Response:
    """Remove a job that has ended, with its results; 409 where it has not."""
    service, id_ = service_of(request), request.path_params["id"]
    await asyncio.to_thread(lambda: service.jobs.forget(id_))
    return await json_response({"deleted": 1})


async def results(request: Request) -> Response:
    """What a job came to, as a file; ranges of it may be asked for. 409 before it is there.

    Of a job that was cancelled or failed, what it had done before that, from the first row on.
    """
    service, job = service_of(request), await job_of(request)
    if job.results is None:
        raise _nothing_yet(job)
    return FileResponse(
        service.jobs.folder(job.id) / job.results.name,
        headers={"ETag": f'"{job.results.sha256}"'},
        media_type=MEDIA_TYPES[job.spec.output],
        filename=f"{job.id}.{job.spec.output}",
    )


async def errors(request: Request) -> Response:
    """The bad rows of a job, a line of JSON each: `line`, `reason`, and `side` of an alignment."""
    service, job = service_of(request), await job_of(request)
    if job.errors is None:
        raise _nothing_yet(job)
    return FileResponse(
        service.jobs.folder(job.id) / job.errors.name,
        headers={"ETag": f'"{job.errors.sha256}"'},
        media_type=MEDIA_TYPES["jsonl"],
        filename=f"{job.id}.errors.jsonl",
    )


def _nothing_yet(job: Job) -> Conflict:
    if job.ended:
        why = f" ({job.error})" if job.error else ""
        return Conflict(
            f"job {job.id} {_ENDED[job.state]} before it had any results{why}; submit it again",
            "id",
        )
    total = "a number not yet known" if job.total is None else str(job.total)
    return Conflict(
        f"job {job.id} is {job.state}, with {job.completed + job.failed} of {total} rows done; "
        f"wait for the end with GET /jobs/{job.id}/events, or end it where it is with POST "
        f"/jobs/{job.id}/cancel and fetch what is done",
        "id",
    )


_ENDED = {State.COMPLETED: "ended", State.FAILED: "failed", State.CANCELLED: "was cancelled"}


_PATH = "/jobs/{id}"
_FILE_ERRORS = (404, 409, 503)

OPERATIONS = (
    Operation("POST", "/jobs", submit, TAG, JobInfo, request=JobRequest, errors=BODY_ERRORS),
    Operation(
        "GET",
        "/jobs",
        list_jobs,
        TAG,
        JobList,
        errors=(422, 503),
        query=(
            ("state", "Only jobs in one of these states, with commas between."),
            ("limit", f"Jobs of a page, at most {_MOST_JOBS}; 20 where it is left out."),
            ("cursor", "The `cursor` of the last answer."),
        ),
    ),
    Operation("GET", _PATH, describe, TAG, JobInfo, errors=(404, 503)),
    Operation("DELETE", _PATH, delete, TAG, Removed, errors=(404, 409, 503)),
    Operation("POST", f"{_PATH}/cancel", cancel, TAG, JobInfo, errors=_FILE_ERRORS),
    Operation(
        "GET",
        f"{_PATH}/events",
        events,
        TAG,
        JobInfo,
        errors=(404, 422, 503),
        other_answers=((EVENTS, "`state` and `progress` events, until the job has ended."),),
    ),
    Operation(
        "GET",
        f"{_PATH}/results",
        results,
        TAG,
        JobInfo,
        errors=_FILE_ERRORS,
        other_answers=tuple((each, "The results.") for each in MEDIA_TYPES.values()),
    ),
    Operation(
        "GET",
        f"{_PATH}/errors",
        errors,
        TAG,
        JobInfo,
        errors=_FILE_ERRORS,
        other_answers=((MEDIA_TYPES["jsonl"], "A bad row a line."),),
    ),
)
