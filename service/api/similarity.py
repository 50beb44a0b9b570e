"""POST /similarity: cosines between two lists of texts."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from service.alignment.scoring import cosine_similarities
from service.api.requests import (
    common_json,
    encode_both,
    facts_json,
    json_response,
    read,
    service_of,
)
from service.api.schemas import TEXT_ERRORS, SimilarityRequest, SimilarityResponse, operation

router = APIRouter(tags=["texts"])


@router.post("/similarity", **operation(SimilarityRequest, SimilarityResponse, *TEXT_ERRORS))
async def similarity(request: Request) -> Response:
    """Compare each source text with each target text: cosines, -1 to 1."""
    service = service_of(request)
    body = await read(request, SimilarityRequest, service.settings)
    lists = {"sources": body.sources, "targets": body.targets}
    encoded, cut = await encode_both(request, service, lists, body.granularity)
    vectors = encoded.vectors
    scores = await asyncio.to_thread(cosine_similarities, vectors[:cut], vectors[cut:])
    return json_response(
        {
            **common_json(service, encoded),
            "scores": scores,
            "sources": [facts_json(facts) for facts in encoded.facts[:cut]],
            "targets": [facts_json(facts) for facts in encoded.facts[cut:]],
        }
    )
