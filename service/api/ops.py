"""What operators and load balancers ask: alive, ready, and what is served."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Manifest
from service.api.documentation import Operation
from service.api.requests import service_of
from service.api.responses import json_response
from service.api.schemas import Info, Status
from service.encoding.batching import QueueState
from service.encoding.session import Choice
from service.settings import Settings


async def livez(request: Request) -> Response:
    """Whether the process answers at all."""
    return await json_response({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Whether texts are taken now."""
    service_of(request)
    return await json_response({"status": "ready"})


async def info(request: Request) -> Response:
    """The bundle that is served, its adapters, the limits of a request, and the queue now."""
    service = service_of(request)
    encoder = service.engine.encoder
    described = describe(encoder.manifest, encoder.choice, service.settings)
    return await json_response({**described, "queue": _queue(service.engine.queue_state())})


def describe(manifest: Manifest, choice: Choice, settings: Settings) -> dict[str, Any]:
    """The bundle, what computes it, its adapters and the limits, as JSON values."""
    adapters = [
        {"name": a.name, "granularity": a.granularity, "max_tokens": a.max_tokens}
        for a in manifest.adapters
    ]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "service_version": version("polygrain"),
        "dimensions": manifest.dimension,
        "dimensions_allowed": manifest.allowed_dimensions,
        "precision": choice.precision,
        "runtime": choice.runtime,
        "device": choice.device,
        "languages": manifest.languages,
        "adapters": adapters,
        "routing": {str(granularity): name for granularity, name in manifest.routing.items()},
        "comparable": manifest.comparable,
        "limits": {
            "max_items": settings.max_items,
            "max_item_characters": settings.max_item_characters,
            "max_body_bytes": settings.max_body_bytes,
            "queue_tokens": settings.queue_tokens,
        },
    }


def _queue(state: QueueState) -> dict[str, float | None]:
    """What tells an operator whether this process keeps up."""
    return {
        "waiting_rows": state.queued_rows,
        "held_tokens": state.held_tokens,
        "tokens_per_second": state.tokens_per_s,
        "refused_requests": state.refused_requests,
        "rows": state.rows,
        "batches": state.batches,
        "padding_share": state.padding_share,
        "mean_wait_s": state.mean_wait_s,
    }


OPERATIONS = (
    Operation("GET", "/livez", livez, "operation", Status, scope="open"),
    Operation("GET", "/readyz", readyz, "operation", Status, errors=(503,), scope="open"),
    Operation("GET", "/info", info, "operation", Info, errors=(503,)),
)
