"""POST /align: which texts, sentences or words of two sides are translations of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.bundle import Granularity
from service.alignment import aligned
from service.alignment.aligned import Aligned, AlignedPair, Judge, LinkedSentences
from service.alignment.blocks import Block
from service.alignment.document_texts import Document
from service.alignment.documents import Plan
from service.alignment.segmentation import Span
from service.alignment.wanted import Level, Wanted
from service.api.align_schemas import AlignRequest, AlignResponse
from service.api.documentation import TEXT_ERRORS, Operation
from service.api.requests import (
    Service,
    adapters_json,
    common_json,
    encode_both,
    in_turn,
    read,
    service_of,
    units_of,
    unless_gone,
)
from service.api.responses import Long, facts_json, json_response
from service.encoding.encoder import Encoded, Unit
from service.encoding.granularity import word_adapter
from service.encoding.states import TokenStates
from service.errors import InvalidInput
from service.telemetry import count

# Decimals of scores in an answer: float32 holds no more.
_DECIMALS = 6

# Sentences whose token states are held at a time: at most some hundred MB.
_STATES_AT_ONCE = 256

# Longer texts are split into sentences in a thread.
_INLINE_CHARACTERS = 4_096

_Documents = dict[str, Document]


async def align(request: Request) -> Response:
    """Pair texts, the sentences of documents, or words with their translations."""
    service = service_of(request)
    body = await read(request, AlignRequest, service.settings)
    wanted = wanted_by(body)
    judge = Judge.of(service.engine.encoder.manifest, wanted)
    if wanted.level is Level.WORD:
        return await _align_words(request, service, body, wanted, judge)
    documents = await _documents(body, wanted)
    if wanted.level is Level.DOCUMENT:
        return await _align_documents(request, service, body, documents, wanted, judge)
    lists = {field: document.sentences for field, document in documents.items()}
    encoded, cut = await encode_both(request, service, lists, body.granularity)
    vectors, facts = encoded.vectors, encoded.facts
    found = await asyncio.to_thread(
        aligned.texts, vectors[:cut], vectors[cut:], facts[:cut], facts[cut:], wanted, judge
    )
    return await json_response(
        {**common_json(service, encoded), **_answer(found, documents, encoded, cut)}
    )


def wanted_by(body: AlignRequest) -> Wanted:
    """What the request asks for; InvalidInput for a field that means nothing at its level."""
    idle = {"text": {"max_merge"}, "document": set(), "word": {"k", "max_merge", "granularity"}}
    for field in AlignRequest.model_fields:
        if field in body.model_fields_set & idle[body.level]:
            raise InvalidInput(f"{field} means nothing at level {body.level}; leave it out", field)
    return Wanted.of(
        body.level,
        body.method,
        body.score,
        k=body.k,
        threshold=body.threshold,
        min_probability=body.min_probability,
        languages=(body.languages[0], body.languages[1]) if body.languages else None,
        max_merge=body.max_merge,
    )


async def _documents(body: AlignRequest, wanted: Wanted) -> _Documents:
    """Both sides as sentences."""

    def split() -> _Documents:
        return {
            "source": Document.of(body.source, "source", wanted.source_language),
            "target": Document.of(body.target, "target", wanted.target_language),
        }

    raw = sum(len(side) for side in (body.source, body.target) if isinstance(side, str))
    return await asyncio.to_thread(split) if raw > _INLINE_CHARACTERS else split()


async def _align_documents(
    request: Request,
    service: Service,
    body: AlignRequest,
    documents: _Documents,
    wanted: Wanted,
    judge: Judge,
) -> Response:
    single = Granularity.SENTENCE if body.granularity == "auto" else Granularity(body.granularity)
    lists = {field: document.sentences for field, document in documents.items()}
    encoded, cut = await encode_both(request, service, lists, single)
    vectors = encoded.vectors
    plan = await asyncio.to_thread(Plan, vectors[:cut], vectors[cut:], max_merge=wanted.max_merge)
    blocks = [
        *_block_units(documents["source"], "source", plan.source_blocks),
        *_block_units(documents["target"], "target", plan.target_blocks),
    ]
    tokens, edge = encoded.tokens, len(plan.source_blocks)
    block_vectors = vectors[:0]
    if blocks:
        read_blocks = await unless_gone(request, service.engine.encode(blocks))
        count(request, tokens=read_blocks.tokens)
        tokens, block_vectors = tokens + read_blocks.tokens, read_blocks.vectors

    def match() -> Aligned:
        found = plan.matches(
            block_vectors[:edge], block_vectors[edge:], score=wanted.score, k=wanted.k
        )
        return aligned.documents(found, cut, len(vectors) - cut, single, judge)

    answer = _answer(await asyncio.to_thread(match), documents, encoded, cut)
    common = {**common_json(service, encoded), "usage": {"tokens": tokens}}
    return await json_response({**common, **answer})


def _block_units(document: Document, field: str, blocks: Sequence[Block]) -> list[Unit]:
    return [
        Unit(document.block(block), f"{field}[{block.start}]", Granularity.PARAGRAPH)
        for block in blocks
    ]


async def _align_words(
    request: Request, service: Service, body: AlignRequest, wanted: Wanted, judge: Judge
) -> Response:
    sides = {"source": body.source, "target": body.target}
    lists = {field: [side] if isinstance(side, str) else side for field, side in sides.items()}
    if len(lists["source"]) != len(lists["target"]):
        raise InvalidInput(
            f"source has {len(lists['source'])} sentences and target {len(lists['target'])}; at "
            "level word each source stands with its translation: send as many of both",
            "target",
        )
    adapter = word_adapter(service.engine.encoder.manifest)
    pairs: list[dict[str, Any]] = []
    facts: dict[str, list[dict[str, Any]]] = {"source": [], "target": []}
    used = set()
    tokens = 0
    sources, targets = await in_turn(
        2 * len(lists["source"]), lambda: units_of(lists, "auto", service.settings, adapter.name)
    )
    count(request, items=len(sources) + len(targets))
    for start in range(0, len(sources), _STATES_AT_ONCE // 2):
        end = min(start + _STATES_AT_ONCE // 2, len(sources))
        some = sources[start:end] + targets[start:end]
        states = await unless_gone(request, service.engine.encode_states(some))
        used |= {(one.facts.granularity, one.facts.adapter) for one in states}
        tokens += sum(one.facts.tokens for one in states)
        cut = end - start
        facts["source"] += [facts_json(one.facts) for one in states[:cut]]
        facts["target"] += [facts_json(one.facts) for one in states[cut:]]
        pairs += await asyncio.to_thread(
            _linked, start, lists, states[:cut], states[cut:], wanted, judge
        )
    count(request, tokens=tokens)
    return await json_response(
        {
            **adapters_json(service, used, tokens),
            "pairs": Long(len(pairs), 200, lambda first, last: pairs[first:last]),
            "items": facts,
        }
    )


def _linked(
    start: int,
    lists: Mapping[str, Sequence[str]],
    sources: Sequence[TokenStates],
    targets: Sequence[TokenStates],
    wanted: Wanted,
    judge: Judge,
) -> list[dict[str, Any]]:
    answers = []
    for index, (one, other) in enumerate(zip(sources, targets, strict=True), start):
        source, target = lists["source"][index], lists["target"][index]
        linked = aligned.words((source, one), (target, other), wanted, judge)
        answers.append({"source": [index], "target": [index], **links_json(linked)})
    return answers


def links_json(linked: LinkedSentences) -> dict[str, Any]:
    """The words of two sentences and their links, as they are answered."""
    return {
        "words": {
            "source": _spans_json(linked.source_words),
            "target": _spans_json(linked.target_words),
        },
        "links": [
            {
                "source": link.source,
                "target": link.target,
                "source_span": [*linked.source_words[link.source]],
                "target_span": [*linked.target_words[link.target]],
                "score": round(link.cosine, _DECIMALS),
                "probability": _rounded(link.probability),
            }
            for link in linked.links
        ],
    }


def pair_json(pair: AlignedPair, *, level: Level) -> dict[str, Any]:
    """A pair of texts as it is answered."""
    answer: dict[str, Any] = {
        "source": pair.source,
        "target": pair.target,
        "score": round(pair.score, _DECIMALS),
        "cosine": round(pair.cosine, _DECIMALS),
        "probability": _rounded(pair.probability),
    }
    # Of texts, `items` tells it of each.
    return {**answer, "granularity": pair.granularity} if level is Level.DOCUMENT else answer


def _spans_json(spans: Sequence[Span]) -> list[list[int]]:
    return [[*span] for span in spans]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _answer(found: Aligned, documents: _Documents, encoded: Encoded, cut: int) -> dict[str, Any]:
    facts = [facts_json(fact) for fact in encoded.facts]
    answer: dict[str, Any] = {
        "pairs": [pair_json(pair, level=found.level) for pair in found.pairs],
        "unaligned": {"source": found.unaligned_source, "target": found.unaligned_target},
        "items": {"source": facts[:cut], "target": facts[cut:]},
    }
    if any(document.spans is not None for document in documents.values()):
        answer["sentences"] = {
            field: None if document.spans is None else _spans_json(document.spans)
            for field, document in documents.items()
        }
    return answer


OPERATIONS = (
    Operation(
        "POST",
        "/align",
        align,
        "texts",
        AlignResponse,
        request=AlignRequest,
        errors=TEXT_ERRORS,
    ),
)
