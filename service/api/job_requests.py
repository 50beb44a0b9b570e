"""From the body of a request to a job that can be stored: all that can be checked, checked."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError
from starlette.requests import Request

from models.bundle import Manifest
from service.api.collection_requests import check_ids, check_makes, metadata_json
from service.api.collection_schemas import DocumentRequest
from service.api.embed import check_adapter, check_shape
from service.api.job_schemas import (
    JOBS,
    AlignJob,
    AnyJob,
    EmbedJob,
    IndexJob,
    InputRequest,
    RetrieveJob,
)
from service.api.requests import Service, parse, service_of
from service.api.schemas import RequestModel
from service.api.validation import translated
from service.errors import InvalidInput, NotFound, quote
from service.jobs import sources
from service.jobs.context import Context, Draft
from service.jobs.kinds.retrieve import condition_of
from service.jobs.specs import Input, Kind, Spec
from service.jobs.store import Job
from service.rows import Columns


class _Typed(RequestModel):
    """What every job says."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["embed", "index", "retrieve", "align"]


def context_of(service: Service) -> Context:
    """What the running service computes jobs with."""
    return Context(service.settings, service.engine, service.collections, _draft)


def _draft(document: dict[str, Any]) -> Draft:
    try:
        checked = DocumentRequest.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        raise translated(details, DocumentRequest) from None
    check_ids([checked.id], "documents", 1)
    return Draft(
        checked.id,
        checked.text,
        checked.language,
        checked.granularity,
        metadata_json(checked.metadata, "metadata"),
    )


async def job_of(request: Request) -> Job:
    """The job that the path names; a folder without jobs is left as it is."""
    service, id_ = service_of(request), request.path_params["id"]

    def get() -> Job:
        if not service.jobs.exist:
            raise NotFound(f"there is no job {quote(id_)}; POST /jobs submits one", "id")
        return service.jobs.store.get(id_)

    return await asyncio.to_thread(get)


async def read_spec(service: Service, body: bytes) -> Spec:
    """The job that a body asks for. Raises what is wrong with it, its files or its collection."""
    job: AnyJob = parse(body, JOBS[parse(body, _Typed).type])
    spec = _spec(job, service.engine.encoder.manifest)
    await asyncio.to_thread(_check_inputs, service, spec)
    if spec.collection is not None:
        name, manifest = spec.collection, service.engine.encoder.manifest
        found = await service.collections.run(
            "search", lambda _: service.collections.collections.get(name)
        )
        check_makes(found.settings.dimensions, manifest)
    return spec


def _check_inputs(service: Service, spec: Spec) -> None:
    names = ("input",) if len(spec.inputs) == 1 else ("source", "target")
    for input_, name in zip(spec.inputs, names, strict=True):
        if (input_.file is None) == (input_.path is None):
            raise InvalidInput(f"send exactly one of {name}.file and {name}.path", name)
        sources.check(service.jobs.source(input_, name), name)


def _spec(job: AnyJob, manifest: Manifest) -> Spec:
    inputs = (job.source, job.target) if isinstance(job, AlignJob) else (job.input,)
    common = {"type", "input", "source", "target", "output", "max_errors", "collection"}
    options = job.model_dump(mode="json", exclude=common)
    _check_options(job, options, manifest)
    return Spec(
        Kind(job.type),
        tuple(_input(each) for each in inputs),
        job.output,
        job.max_errors,
        job.collection if isinstance(job, IndexJob | RetrieveJob) else None,
        options,
        job.model_dump(mode="json", exclude_unset=True),
    )


def _check_options(job: AnyJob, options: dict[str, Any], manifest: Manifest) -> None:
    if isinstance(job, EmbedJob):
        check_adapter(job.adapter, job.granularity, manifest)
        check_shape(job.dimensions, job.encoding, job.normalize, manifest)
        if job.encoding == "base64" and job.output in ("npy", "parquet"):
            raise InvalidInput(
                f"encoding is 'base64' and output is {job.output!r}, which holds values as they "
                "are; use float, or an output of jsonl or tsv",
                "encoding",
            )
    elif isinstance(job, RetrieveJob):
        condition_of(options)  # raises where the filter is none
    elif isinstance(job, AlignJob):
        if job.threshold is not None and job.min_probability is not None:
            raise InvalidInput(
                "threshold and min_probability exclude each other; leave one out", "threshold"
            )


def _input(request: InputRequest) -> Input:
    columns = Columns(
        request.id_column, request.text_column, request.language_column, request.granularity_column
    )
    return Input(request.file, request.path, request.format, columns)
