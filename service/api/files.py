"""/files: files that jobs read, from the request's body straight to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api.documentation import Operation
from service.api.job_schemas import FileInfo, FileList, Removed
from service.api.requests import service_of
from service.api.responses import json_response
from service.errors import ClientGone, InvalidInput, UnsupportedMediaType, quote
from service.jobs.store import StoredFile
from service.jobs.uploads import receive
from service.settings import Settings

TAG = "jobs"
_BYTES = "application/octet-stream"


async def upload(request: Request) -> Response:
    """Keep the request's body as a file, under the `name` that tells its format.

    Answered when it is on disk. With `sha256`, it is kept only if it came whole.
    """
    service = service_of(request)
    _check_media_type(request.headers.get("content-type"))
    name = request.query_params.get("name")
    if name is None:
        raise InvalidInput(
            "name is missing; send the file's name with the address, such as "
            "POST /files?name=texts.tsv.gz",
            "name",
        )
    declared = request.headers.get("content-length", "0")
    size = int(declared) if declared.isdigit() else 0
    sha256 = request.query_params.get("sha256")
    file = await receive(service.jobs, name, size, _stream(request), sha256)
    return await json_response(_described(file, service.settings))


def _check_media_type(value: str | None) -> None:
    # Browsers send texts and forms across origins without asking first; see service.api.requests.
    media_type = (value or "").partition(";")[0].strip().lower()
    if media_type != _BYTES:
        came = "missing" if value is None else quote(value)
        raise UnsupportedMediaType(
            f"Content-Type is {came}; send the file's bytes as they are (no form) with "
            f"Content-Type: {_BYTES}"
        )


async def _stream(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise ClientGone("the client closed the connection while it sent the file") from None


async def list_files(request: Request) -> Response:
    """All uploaded files, the youngest first."""
    service = service_of(request)
    jobs = service.jobs
    files = await asyncio.to_thread(lambda: jobs.store.files() if jobs.exist else [])
    return await json_response({"files": [_described(each, service.settings) for each in files]})


async def describe(request: Request) -> Response:
    """What an uploaded file is."""
    service, id_ = service_of(request), request.path_params["id"]
    file = await asyncio.to_thread(lambda: service.jobs.store.file(id_))
    return await json_response(_described(file, service.settings))


async def delete(request: Request) -> Response:
    """Remove an uploaded file; 409 while a job that has not ended uses it."""
    service, id_ = service_of(request), request.path_params["id"]
    await asyncio.to_thread(lambda: service.jobs.forget_file(id_))
    return await json_response({"deleted": 1})


def _described(file: StoredFile, settings: Settings) -> dict[str, Any]:
    return {
        "id": file.id,
        "name": file.name,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "created_at": moment(file.created_at),
        "expires_at": moment(file.created_at + settings.keep_jobs_s),
    }


def moment(seconds: float | None) -> str | None:
    """A time as answers tell it: ISO 8601, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


OPERATIONS = (
    Operation(
        "POST",
        "/files",
        upload,
        TAG,
        FileInfo,
        errors=(413, 415, 422, 503, 507),
        query=(
            ("name", "The file's own name; its ending tells the format and the compression."),
            ("sha256", "Of the file, in hexadecimal, where it should be checked."),
        ),
    ),
    Operation("GET", "/files", list_files, TAG, FileList, errors=(503,)),
    Operation("GET", "/files/{id}", describe, TAG, FileInfo, errors=(404, 503)),
    Operation("DELETE", "/files/{id}", delete, TAG, Removed, errors=(404, 409, 503)),
)
