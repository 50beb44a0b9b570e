"""POST /align: which texts of two lists are translations of each other."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.alignment.matching import Alignment, Pair, align_one_to_one
from service.alignment.scoring import Score
from service.api.documentation import TEXT_ERRORS, Operation
from service.api.requests import common_json, encode_both, read, service_of
from service.api.responses import facts_json, json_response
from service.api.schemas import AlignRequest, AlignResponse
from service.encoding.encoder import Encoded

# Decimals of scores in an answer: float32 holds no more.
_DECIMALS = 6


async def align(request: Request) -> Response:
    """Pair the texts of two unordered lists, each text at most once, best pairs first."""
    service = service_of(request)
    body = await read(request, AlignRequest, service.settings)
    lists = {"source": body.source, "target": body.target}
    encoded, cut = await encode_both(request, service, lists, body.granularity)
    alignment = await asyncio.to_thread(_align, encoded, cut, body)
    return await json_response(
        {**common_json(service, encoded), **_answer(alignment, encoded, cut)}
    )


def _align(encoded: Encoded, cut: int, body: AlignRequest) -> Alignment:
    return align_one_to_one(
        encoded.vectors[:cut],
        encoded.vectors[cut:],
        score=Score(body.score),
        k=body.k,
        threshold=body.threshold,
    )


def _answer(alignment: Alignment, encoded: Encoded, cut: int) -> dict[str, Any]:
    facts = [facts_json(fact) for fact in encoded.facts]
    return {
        "pairs": [_pair(pair) for pair in alignment.pairs],
        "unaligned": {
            "source": alignment.unaligned_source,
            "target": alignment.unaligned_target,
        },
        "items": {"source": facts[:cut], "target": facts[cut:]},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "source": [pair.source],
        "target": [pair.target],
        "score": round(pair.score, _DECIMALS),
        "cosine": round(pair.cosine, _DECIMALS),
        "probability": None,  # no bundle is calibrated yet
    }


OPERATIONS = (
    Operation(
        "POST",
        "/align",
        align,
        "texts",
        AlignResponse,
        request=AlignRequest,
        errors=TEXT_ERRORS,
        scope="read",
    ),
)
