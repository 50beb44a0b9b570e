"""What operators and load balancers ask: alive, ready, and what is served."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response

from models.bundle import Manifest
from service.api.requests import json_response, service_of
from service.api.schemas import Info, Status, operation
from service.encoding.session import Choice
from service.settings import Settings

router = APIRouter(tags=["operation"])


@router.get("/livez", **operation(None, Status))
async def livez() -> Response:
    """Whether the process answers at all."""
    return json_response({"status": "alive"})


@router.get("/readyz", **operation(None, Status, 503))
async def readyz(request: Request) -> Response:
    """Whether texts are taken now."""
    service_of(request)
    return json_response({"status": "ready"})


@router.get("/info", **operation(None, Info, 503))
async def info(request: Request) -> Response:
    """The bundle that is served, its adapters, and the limits of a request."""
    service = service_of(request)
    encoder = service.engine.encoder
    return json_response(describe(encoder.manifest, encoder.choice, service.settings))


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
