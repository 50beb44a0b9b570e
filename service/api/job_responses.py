"""A job as answers and events tell it."""

from __future__ import annotations

from typing import Any

from service.api.files import moment
from service.jobs.specs import MEDIA_TYPES
from service.jobs.store import Job, Result, State
from service.settings import Settings


def described(job: Job, settings: Settings) -> dict[str, Any]:
    """The fields of `JobInfo`."""
    active = not job.ended
    left = None if job.total is None else job.total - job.completed - job.failed
    bundle = None if job.bundle is None else job.bundle.split(" ")
    return {
        "id": job.id,
        "type": job.spec.kind,
        "state": job.state,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "expires_at": moment(
            None if job.finished_at is None else job.finished_at + settings.keep_jobs_s
        ),
        "counts": {"total": job.total, "completed": job.completed, "failed": job.failed},
        "stage": None
        if job.stage is None
        else {"name": job.stage.name, "done": job.stage.done, "total": job.stage.total},
        "rows_per_second": None if job.rows_per_s is None else round(job.rows_per_s, 2),
        "seconds_left": round(left / job.rows_per_s, 1)
        if active and left is not None and job.rows_per_s
        else None,
        "error": job.error,
        "bundle": None if bundle is None else {"name": bundle[0], "version": bundle[1]},
        "results": _file(
            job, job.results, "results", job.spec.output, MEDIA_TYPES[job.spec.output]
        ),
        "errors": _file(job, job.errors, "errors", "jsonl", MEDIA_TYPES["jsonl"]),
        "summary": job.summary,
        "request": job.spec.request,
    }


def _file(
    job: Job, file: Result | None, path: str, format_: str, media_type: str
) -> dict[str, Any] | None:
    if file is None:
        return None
    return {
        "url": f"/jobs/{job.id}/{path}",
        "format": format_,
        "media_type": media_type,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "rows": file.rows,
        "partial": job.state is not State.COMPLETED,
    }
