"""What every way of asking for vectors shares: which adapters and dimensions, and the embedding."""

from __future__ import annotations

from starlette.requests import Request

from models.bundle import Granularity, Manifest
from service.api.requests import Service, check_sizes, in_turn, unless_gone
from service.encoding.encoder import Encoded, Options, Unit
from service.errors import InvalidInput
from service.telemetry import count


def allowed_adapters(manifest: Manifest) -> list[str]:
    """The adapters that a caller may name; a word adapter embeds no text whole."""
    return [a.name for a in manifest.adapters if a.granularity is not Granularity.WORD]


def check_dimensions(dimensions: int | None, manifest: Manifest) -> None:
    """Raise InvalidInput where vectors of this bundle cannot be cut to so many dimensions."""
    allowed = manifest.allowed_dimensions
    if dimensions is None or dimensions in allowed:
        return
    reason = (
        f"use one of {', '.join(map(str, allowed))}"
        if len(allowed) > 1
        else f"the bundle has all of its {manifest.dimension} dimensions or none, since it was "
        "not made to be cut: leave the field out"
    )
    raise InvalidInput(f"dimensions is {dimensions}; {reason}", "dimensions")


async def embed_texts(
    request: Request,
    service: Service,
    given: str | list[str],
    field: str,
    *,
    adapter: str | None = None,
    options: Options | None = None,
) -> Encoded:
    """The vectors of the one text or the texts that `field` holds, counted for the log.

    Raises InvalidInput for an empty list and what `Engine.encode` raises; ClientGone.
    """
    texts = [given] if isinstance(given, str) else given

    def units() -> list[Unit]:
        if not texts:
            raise InvalidInput(f"{field} is an empty list; send at least one text", field)
        check_sizes({field: texts}, service.settings)
        if isinstance(given, str):
            return [Unit(given, field, adapter=adapter)]
        return [Unit(text, f"{field}[{n}]", adapter=adapter) for n, text in enumerate(texts)]

    chosen = await in_turn(len(texts), units)
    count(request, items=len(chosen))
    encoded = await unless_gone(request, service.engine.encode(chosen, options))
    count(request, tokens=encoded.tokens)
    return encoded
