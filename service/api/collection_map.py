"""GET /collections/{name}/map: a collection in two dimensions, to be drawn."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.collection_requests import ERRORS, TAG, on_collection
from service.api.collection_schemas import MapResponse
from service.api.documentation import Operation
from service.api.responses import Long, json_response
from service.errors import InvalidInput, quote
from service.retrieval.collection import Collection
from service.retrieval.projection import Plane, principal_plane
from service.retrieval.values import Cancel, Document

DEFAULT_LIMIT, MAX_LIMIT = 1_000, 5_000

# Of a text, what a label on a map has room for.
_TEXT_CHARACTERS = 300

_DECIMALS = 6


async def draw_map(request: Request) -> Response:
    """The documents' vectors on the plane of their first two principal components.

    Vectors of different adapters have no plane in common: of the adapter that made most of them, at
    most `limit` documents are shown, each language by its share.
    """
    limit = _limit(request.query_params.get("limit"))
    return await json_response(
        await on_collection(request, lambda found, cancel: _answer(found, limit, cancel), "slow")
    )


def _limit(value: str | None) -> int:
    if value is None:
        return DEFAULT_LIMIT
    # Not isdigit alone: that holds for digits of all scripts, and superscripts too.
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_LIMIT):
        raise InvalidInput(
            f"limit is {quote(value)}; use an integer from 1 to {MAX_LIMIT}", "limit"
        )
    return int(value)


def _answer(collection: Collection, limit: int, cancel: Cancel) -> dict[str, Any]:
    sample = collection.sample(limit, cancel)
    if sample is None:
        return {"documents": 0, "adapter": None, "variance": [0.0, 0.0], "points": []}
    plane = principal_plane(sample.vectors)
    documents = sample.documents

    def piece(start: int, stop: int) -> list[dict[str, Any]]:
        return [_point(documents[place], plane, place) for place in range(start, stop)]

    return {
        "documents": collection.count(cancel=cancel),
        "adapter": sample.space.adapter,
        "variance": [round(float(share), _DECIMALS) for share in plane.shares],
        "points": Long(len(documents), 8, piece),
    }


def _point(document: Document, plane: Plane, place: int) -> dict[str, Any]:
    x, y = plane.points[place].tolist()
    text = document.text
    if text is not None and len(text) > _TEXT_CHARACTERS:
        text = f"{text[: _TEXT_CHARACTERS - 1]}…"
    return {
        "id": document.id,
        # Plus zero, which makes 0 of -0.
        "x": round(x, _DECIMALS) + 0.0,
        "y": round(y, _DECIMALS) + 0.0,
        "language": document.language,
        "granularity": document.granularity,
        "text": text,
    }


OPERATIONS = (
    Operation(
        "GET",
        "/collections/{name}/map",
        draw_map,
        TAG,
        MapResponse,
        errors=ERRORS,
        query=(("limit", f"Documents at most, 1 to {MAX_LIMIT}; {DEFAULT_LIMIT} by default."),),
    ),
)
