"""The work of one shard: rows in, a table out, the same whenever and wherever it is done.

A shard depends on its job's spec, its rows, the bundle, and, for the kinds that have one, the
collection; never on what else the server does. So a killed shard is simply done again.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from models.bundle import Granularity, Manifest
from service.encoding.encoder import Encoded, Engine, Facts, Options, Unit, check_text
from service.encoding.quantization import to_binary, to_int8, truncate
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.errors import InvalidInput, NotComparable, Overloaded, TooLarge
from service.jobs.results import Shape, Table
from service.jobs.specs import Spec
from service.retrieval.collection import Collection
from service.retrieval.filters import Condition, all_of, one_of, parse_filter
from service.retrieval.languages import detect
from service.retrieval.reading import Reading, read_queries, space_of
from service.retrieval.searching import MAX_CANDIDATES, MAX_RESULTS, Query
from service.retrieval.values import Cancel, Entry, Found, Space
from service.retrieval.work import CollectionWork, Kind
from service.rows import BadRow, Row, document_of
from service.settings import Settings

# Texts that are handed to the engine together: few, so that a job holds little of the queue, and
# enough that texts of like length meet.
_TEXTS = 256
_CHARACTERS = 65_536
# And so many times that, so that the model finds the next ones when it is done.
_AHEAD = 2

# Queries of one search: others get the interpreter and the cores in between.
_QUERIES = 64

# A search whose collection gains another kind of vector meanwhile is tried anew.
_ATTEMPTS = 3

_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Draft:
    """A document of an index job, checked, before its vector is known."""

    id: str
    text: str
    language: str | None
    granularity: str | None
    metadata: bytes  # a JSON object


@dataclass(frozen=True)
class Context:
    """What shards are computed with."""

    settings: Settings
    engine: Engine
    collections: CollectionWork
    # A document as `POST …/documents` takes it, checked; InvalidInput says what is wrong.
    draft: Callable[[dict[str, Any]], Draft]

    @property
    def manifest(self) -> Manifest:
        """Of the bundle that is served."""
        return self.engine.encoder.manifest

    @cached_property
    def bundle(self) -> str:
        """All that decides what vectors are: shards of one job must agree in it."""
        encoder, manifest = self.engine.encoder, self.manifest
        files = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        from hashlib import sha256

        return " ".join(
            (
                manifest.name,
                manifest.version,
                sha256(files).hexdigest()[:16],
                str(encoder.choice.runtime),
                str(encoder.choice.precision),
            )
        )

    @property
    def line_bytes(self) -> int:
        """A longer line of an input is no row: a text at its longest, with some metadata."""
        return 4 * self.settings.max_item_characters + 65_536


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a shard came to."""

    table: Table
    bad: list[BadRow]


async def compute(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    """Do the work of a shard. Raises what ends the job: PolygrainError, with words for its owner.

    Cancelled, it leaves at most documents in a collection that the same shard writes again.
    """
    work = _KINDS[str(spec.kind)]
    return await work(spec, rows, context)


def shape_of(spec: Spec, manifest: Manifest) -> Shape:
    """What the head of a job's results tells."""
    options = spec.options
    if spec.kind == "embed":
        width = options["dimensions"] or manifest.dimension
        dtype, width = {
            "int8": ("|i1", width),
            "binary": ("|u1", -(-width // 8)),
        }.get(options["encoding"], ("<f4", width))
        return Shape(("line", "id", "embedding", *_FACTS), dtype, width)
    if spec.kind == "index":
        return Shape(("line", "id", "language", *_FACTS))
    if spec.output == "tsv":
        return Shape(("line", "id", "rank", "hit", "score", *options["include"]))
    return Shape(("line", "id", "query", "hits"))


_FACTS = ("granularity", "adapter", "tokens", "truncated")


@dataclass(frozen=True, slots=True)
class _Text:
    """A row with a text that can be embedded."""

    row: Row
    text: str
    id: str | None


def _texts(
    spec: Spec, rows: Sequence[Row | BadRow], settings: Settings
) -> tuple[list[_Text], list[BadRow]]:
    columns = spec.inputs[0].columns
    texts: list[_Text] = []
    bad: list[BadRow] = []
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        text = row.values.get(columns.text)
        if reason := fault_of(text, columns.text, settings.max_item_characters):
            bad.append(BadRow(row.number, reason))
        else:
            id_ = row.values.get(columns.id)
            texts.append(_Text(row, str(text), None if id_ is None else str(id_)))
    return texts, bad


def fault_of(text: object, column: str, max_characters: int) -> str | None:
    """Why a value is no text that can be embedded; None where it is one."""
    if text is None:
        return f"has nothing in the column {column}"
    if not isinstance(text, str):
        return f"has no text in the column {column} but {type(text).__name__}"
    if len(text) > max_characters:
        return (
            f"has {len(text)} characters; at most {max_characters} are allowed "
            "(POLYGRAIN_MAX_ITEM_CHARACTERS)"
        )
    try:
        check_text(text, "its text")
    except InvalidInput as error:
        return error.message
    return None


async def _embed(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    options = spec.options
    texts, bad = _texts(spec, rows, context.settings)
    granularity = _granularity(options["granularity"])
    units = [
        Unit(each.text, str(each.row.number), granularity, options["adapter"]) for each in texts
    ]
    wanted = Options(LongText(options["long_text"]), options["normalize"])
    encoded, refused = await _encode(context, units, wanted)
    bad = sorted([*bad, *refused], key=lambda each: each.number)
    gone = {each.number for each in refused}
    texts = [each for each in texts if each.row.number not in gone]
    vectors = _written(encoded.vectors, options)
    if spec.output == "npy":
        return Outcome({"embedding": _with_gaps(vectors, texts, rows)}, bad)
    table = {
        "line": [each.row.number for each in texts],
        "id": [each.id for each in texts],
        "embedding": _base64(vectors) if options["encoding"] == "base64" else vectors,
        **_facts(encoded.facts),
    }
    return Outcome(table, bad)


def _written(vectors: Vectors, options: dict[str, Any]) -> np.ndarray[Any, Any]:
    """What is written of each vector: (texts, values)."""
    dimensions = options["dimensions"]
    if dimensions is not None and dimensions < vectors.shape[1]:
        vectors = truncate(vectors, dimensions, normalize=options["normalize"])
    quantize = {"int8": to_int8, "binary": to_binary}.get(options["encoding"])
    return np.ascontiguousarray(vectors, "<f4") if quantize is None else quantize(vectors)


def _with_gaps(
    vectors: np.ndarray[Any, Any], texts: Sequence[_Text], rows: Sequence[Row | BadRow]
) -> np.ndarray[Any, Any]:
    """One row of an array for each row of the input: NaN, or 0 in integers, where it was bad."""
    gap = np.nan if vectors.dtype.kind == "f" else 0
    whole = np.full((len(rows), vectors.shape[1]), gap, vectors.dtype)
    place = {row.number: index for index, row in enumerate(rows)}
    whole[[place[each.row.number] for each in texts]] = vectors
    return whole


def _base64(vectors: np.ndarray[Any, Any]) -> list[str]:
    return [base64.b64encode(row.tobytes()).decode() for row in vectors]


def _facts(facts: Sequence[Facts]) -> dict[str, list[Any]]:
    return {
        "granularity": [str(each.granularity) for each in facts],
        "adapter": [each.adapter for each in facts],
        "tokens": [each.tokens for each in facts],
        "truncated": [each.truncated for each in facts],
    }


async def _index(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    collection = await _on(context, spec, lambda found, _: found)
    texts, bad = _texts(spec, rows, context.settings)
    drafts: list[tuple[int, Draft]] = []
    for each in texts:
        try:
            document = document_of(each.row, spec.inputs[0].columns, spec.options["prefix"])
            drafts.append((each.row.number, _defaults(context.draft(document), spec)))
        except (InvalidInput, TooLarge) as error:
            bad.append(BadRow(each.row.number, error.message))
    own = collection.settings.granularity
    units = [
        Unit(draft.text, str(number), _granularity(draft.granularity or own))
        for number, draft in drafts
    ]
    encoded, refused = await _encode(context, units, Options())
    gone = {each.number for each in refused}
    drafts = [each for each in drafts if each[0] not in gone]
    languages = await asyncio.to_thread(_languages, [each for _, each in drafts], context.manifest)
    entries = [
        Entry(
            id=draft.id,
            text=draft.text,
            language=language,
            granularity=facts.granularity,
            metadata=draft.metadata,
            space=space_of(context.manifest, facts.adapter),
        )
        for (_, draft), language, facts in zip(drafts, languages, encoded.facts, strict=True)
    ]
    # Of rows with one id the last stands, within a shard as from one to the next.
    last = sorted({entry.id: place for place, entry in enumerate(entries)}.values())
    if last:
        await _on(
            context,
            spec,
            lambda found, _: found.upsert([entries[i] for i in last], encoded.vectors[last]),
            "write",
        )
    table = {
        "line": [number for number, _ in drafts],
        "id": [entry.id for entry in entries],
        "language": languages,
        **_facts(encoded.facts),
    }
    return Outcome(table, sorted([*bad, *refused], key=lambda each: each.number))


def _defaults(draft: Draft, spec: Spec) -> Draft:
    return replace(
        draft,
        language=draft.language or spec.options["language"],
        granularity=draft.granularity or spec.options["granularity"],
    )


def _languages(drafts: Sequence[Draft], manifest: Manifest) -> list[str]:
    open_ = [draft.text for draft in drafts if draft.language is None]
    told = iter(detect(open_, manifest.languages) if open_ else ())
    return [next(told) if draft.language is None else draft.language for draft in drafts]


async def _retrieve(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    texts, bad = _texts(spec, rows, context.settings)
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

    reading = await _on(context, spec, read)
    vectors = reading.vectors((await _encode(context, reading.units, Options()))[0].vectors)
    found: list[list[Found]] = []
    step = _step(spec)
    for start in range(0, len(texts), step):
        some = {space: rows[start : start + step] for space, rows in vectors.items()}
        query = _query(spec, min(step, len(texts) - start))
        found += await _on(
            context,
            spec,
            lambda it, cancel, query=query, some=some: it.search(query, some, cancel),
            "slow",
        )
    return found, await _on(context, spec, lambda it, _: it.spaces(gone=True))


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
    return {"id": document.id, "score": round(found.score, _DECIMALS), **told}


def _flat(texts: Sequence[_Text], hits: list[list[dict[str, Any]]], include: list[str]) -> Table:
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


async def _on(
    context: Context, spec: Spec, function: Callable[..., Any], kind: Kind = "search"
) -> Any:  # noqa: ANN401
    """What `function` makes of the job's collection, in a thread of a kind."""
    work, name = context.collections, spec.collection or ""
    return await work.run(kind, lambda cancel: function(work.collections.get(name), cancel))


def _granularity(name: str) -> Granularity | None:
    return None if name == "auto" else Granularity(name)


async def _encode(
    context: Context, units: Sequence[Unit], options: Options
) -> tuple[Encoded, list[BadRow]]:
    """The vectors of the texts that can be embedded so, and the others; `origin` is the line."""
    turn = asyncio.Semaphore(_AHEAD)

    async def one(some: Sequence[Unit]) -> list[Encoded | BadRow]:
        async with turn:
            return await _encode_or_halve(context.engine, some, options)

    tasks = [asyncio.create_task(one(some)) for some in _portions(units)]
    try:
        parts = [part for some in await asyncio.gather(*tasks) for part in some]
    finally:
        for task in tasks:
            task.cancel()
    good = [part for part in parts if isinstance(part, Encoded)]
    vectors = [part.vectors for part in good]
    return Encoded(
        np.concatenate(vectors)
        if vectors
        else np.empty((0, context.manifest.dimension), np.float32),
        tuple(fact for part in good for fact in part.facts),
    ), [part for part in parts if isinstance(part, BadRow)]


def _portions(units: Sequence[Unit]) -> list[Sequence[Unit]]:
    portions: list[Sequence[Unit]] = []
    start = characters = 0
    for place, unit in enumerate(units):
        if place > start and (place - start == _TEXTS or characters + len(unit.text) > _CHARACTERS):
            portions.append(units[start:place])
            start, characters = place, 0
        characters += len(unit.text)
    return [*portions, units[start:]] if units else []


async def _encode_or_halve(
    engine: Engine, units: Sequence[Unit], options: Options
) -> list[Encoded | BadRow]:
    """The vectors of all texts but those that are refused, in order."""
    try:
        return [await patiently(engine, units, options)]
    except (InvalidInput, TooLarge) as error:
        if len(units) == 1:
            return [BadRow(int(units[0].origin), error.message)]
    half = len(units) // 2
    return [
        *await _encode_or_halve(engine, units[:half], options),
        *await _encode_or_halve(engine, units[half:], options),
    ]


async def patiently(engine: Engine, units: Sequence[Unit], options: Options) -> Encoded:
    """Embed for a job: it waits where the queue is full, since interactive requests go first."""
    while True:
        try:
            return await engine.encode_repeatably(units, options)
        except Overloaded as error:
            await asyncio.sleep(error.retry_after_s)


_KINDS: dict[str, Callable[[Spec, Sequence[Row | BadRow], Context], Awaitable[Outcome]]] = {
    "embed": _embed,
    "index": _index,
    "retrieve": _retrieve,
}
