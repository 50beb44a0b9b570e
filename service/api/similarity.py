"""POST /similarity: cosines between two lists of texts."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from service.alignment.scoring import cosine_similarities
from service.api.documentation import TEXT_ERRORS, Operation
from service.api.requests import common_json, encode_both, read, service_of
from service.api.responses import Long, facts_json, json_response
from service.api.schemas import SimilarityRequest, SimilarityResponse


async def similarity(request: Request) -> Response:
    """Compare each source text with each target text: cosines, -1 to 1."""
    service = service_of(request)
    body = await read(request, SimilarityRequest, service.settings)
    lists = {"sources": body.sources, "targets": body.targets}
    encoded, cut = await encode_both(request, service, lists, body.granularity)
    vectors = encoded.vectors
    scores = await asyncio.to_thread(cosine_similarities, vectors[:cut], vectors[cut:])
    return await json_response(
        {
            **common_json(service, encoded),
            "scores": Long(len(scores), scores.shape[1], lambda start, stop: scores[start:stop]),
            "sources": [facts_json(facts) for facts in encoded.facts[:cut]],
            "targets": [facts_json(facts) for facts in encoded.facts[cut:]],
        }
    )


OPERATIONS = (
    Operation(
        "POST",
        "/similarity",
        similarity,
        "texts",
        SimilarityResponse,
        request=SimilarityRequest,
        errors=TEXT_ERRORS,
        scope="read",
    ),
)
