"""A retrieve job: what is nearest to each text in a collection, as `POST …/search` finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from models.bundle import Manifest
from service.encoding.encoder import Options
from service.errors import NotComparable
from service.jobs.context import Context, on_collection
from service.jobs.results import Outcome, Shape, Table
from service.jobs.specs import Spec
from service.jobs.texts import Text, encode, texts_of
from service.retrieval.collection import Collection
from service.retrieval.filters import Condition, all_of, one_of, parse_filter
from service.retrieval.reading import Reading, read_queries
from service.retrieval.searching import MAX_CANDIDATES, MAX_RESULTS, Query
from service.retrieval.values import SCORE_DECIMALS, Cancel, Found, Space
from service.rows import BadRow, Row

# Queries of one search: others get the interpreter and the cores in between.
_QUERIES = 64

# A search whose collection gains another kind of vector meanwhile is tried anew.
_ATTEMPTS = 3


async def retrieve(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    """The hits of each of a shard's queries."""
    texts, bad = texts_of(spec, rows, context.settings)
    for attempt in range(_ATTEMPTS):
        try:
            found, spaces = await _search(spec, [each.text for each in texts], context)
            break
        except NotComparable:
            if attempt == _ATTEMPTS - 1:
                raise
    hits = [[_hit(each, spec, spaces) for each in some] for some in found]
    if spec.output == "tsv":
        return Outcome(_flat(texts, hits, spec.options["include"]), bad)
    table = {
        "line": [each.row.number for each in texts],
        "id": [each.id for each in texts],
        "query": [each.text for each in texts],
        "hits": hits,
    }
    return Outcome(table, bad)


def shape(spec: Spec, manifest: Manifest) -> Shape:
    """What the head of the results tells."""
    if spec.output == "tsv":
        return Shape(("line", "id", "rank", "hit", "score", *spec.options["include"]))
    return Shape(("line", "id", "query", "hits"))


async def _search(
    spec: Spec, texts: list[str], context: Context
) -> tuple[list[list[Found]], dict[int, Space]]:
    if not texts:
        return [], {}
    granularity, manifest = spec.options["granularity"], context.manifest

    def read(collection: Collection, _: Cancel) -> Reading:
        if collection.settings.dimensions != manifest.dimension:
            return Reading([], {})
        return read_queries(texts, granularity, collection.spaces(), manifest)

    reading = await on_collection(context, spec, read)
    vectors = reading.vectors((await encode(context, reading.units, Options()))[0].vectors)
    found: list[list[Found]] = []
    step = _step(spec)
    for start in range(0, len(texts), step):
        some = {space: rows[start : start + step] for space, rows in vectors.items()}
        query = _query(spec, min(step, len(texts) - start))
        found += await on_collection(
            context,
            spec,
            lambda it, cancel, query=query, some=some: it.search(query, some, cancel),
            "slow",
        )
    return found, await on_collection(context, spec, lambda it, _: it.spaces(gone=True))


def _query(spec: Spec, queries: int) -> Query:
    options = spec.options
    return Query(
        queries=queries,
        top_k=options["top_k"],
        condition=condition_of(options),
        score=options["score"],
        min_score=options["min_score"],
        balance=options["balance"],
    )


def condition_of(options: dict[str, Any]) -> Condition:
    """What the options of a retrieve job narrow the documents by."""
    conditions = [] if options["filter"] is None else [parse_filter(options["filter"])]
    if options["languages"] is not None:
        conditions.append(one_of("language", options["languages"]))
    if options["granularities"] is not None:
        conditions.append(one_of("granularity", options["granularities"]))
    return all_of(conditions)


def _step(spec: Spec) -> int:
    """Queries that are searched together: with csls as many as may, since each tells of others."""
    query = _query(spec, 1)
    if query.score == "cosine":
        return max(1, min(_QUERIES, MAX_RESULTS // query.top_k))
    groups = 64 if query.balance else 1
    return max(1, min(1_024, MAX_CANDIDATES // (query.candidates * groups)))


def _hit(found: Found, spec: Spec, spaces: dict[int, Space]) -> dict[str, Any]:
    document = found.document
    metadata: Any = document.metadata.decode()
    values = {
        "text": document.text,
        "language": document.language,
        "granularity": document.granularity,
        # As it is stored: nested in JSON, a string where columns have types.
        "metadata": orjson.Fragment(document.metadata) if spec.output == "jsonl" else metadata,
        "adapter": spaces[document.space].adapter,
    }
    told = {name: values[name] for name in spec.options["include"]}
    return {"id": document.id, "score": round(found.score, SCORE_DECIMALS), **told}


def _flat(texts: Sequence[Text], hits: list[list[dict[str, Any]]], include: list[str]) -> Table:
    """A line for each hit; one of rank 0, empty beside, for a query without any."""
    names = ("line", "id", "rank", "hit", "score", *include)
    lines: list[tuple[Any, ...]] = []
    for each, some in zip(texts, hits, strict=True):
        start = (each.row.number, each.id)
        lines += [
            (*start, rank, hit["id"], hit["score"], *(hit[name] for name in include))
            for rank, hit in enumerate(some, start=1)
        ] or [(*start, 0, *[None] * (len(names) - 3))]
    columns = [list(column) for column in zip(*lines, strict=True)] or [[] for _ in names]
    return dict(zip(names, columns, strict=True))
