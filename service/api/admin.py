"""What only operators ask for: metrics, and another bundle."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.documentation import Operation
from service.api.requests import read, service_of
from service.api.responses import json_response
from service.api.schemas import RequestModel, ResponseModel
from service.errors import InvalidInput, quote
from service.metrics import CONTENT_TYPE

METRICS = "/metrics"


class BundleRequest(RequestModel):
    """Which bundle to serve from now on."""

    path: str | None = Field(
        None,
        description="Absolute path of a bundle on the server's machine. null: the configured one, "
        "read anew, so that a link may have changed.",
        examples=["/bundles/polygrain-mini-1.1"],
    )


class BundleServed(ResponseModel):
    """The bundle that requests are given to from now on."""

    name: str
    version: str


class MetricsText(ResponseModel):
    """Not JSON: Prometheus' text format."""


async def use_bundle(request: Request) -> Response:
    """Serve another bundle without a failed request.

    It is opened and warmed beside the one that is served; where that fails nothing changes.
    """
    service = service_of(request)
    body = await read(request, BundleRequest, service.settings)
    if body.path is not None and not Path(body.path).is_absolute():
        raise InvalidInput(
            f"path is {quote(body.path)}; give an absolute path on the server's machine", "path"
        )
    path = None if body.path is None else Path(body.path)
    return await json_response(await request.app.state.use_bundle(path))


async def metrics(request: Request) -> Response:
    """Counters and gauges for Prometheus, of all workers."""
    return Response(await request.app.state.metrics_text(), media_type=CONTENT_TYPE)


OPERATIONS = (
    Operation(
        "POST",
        "/admin/bundle",
        use_bundle,
        "operation",
        BundleServed,
        request=BundleRequest,
        errors=(400, 409, 415, 422, 503),
        scope="admin",
    ),
    Operation(
        "GET",
        METRICS,
        metrics,
        "operation",
        MetricsText,
        other_answers=(("text/plain", "Prometheus' text format."),),
        scope="read",
    ),
)
