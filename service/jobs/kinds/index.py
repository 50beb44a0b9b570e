"""An index job: each row a document of a collection, as `POST …/documents` writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from models.bundle import Manifest
from service.encoding.encoder import Options, Unit
from service.errors import InvalidInput, TooLarge
from service.jobs.context import Context, Draft, on_collection
from service.jobs.results import Outcome, Shape
from service.jobs.specs import Spec
from service.jobs.texts import FACTS, encode, facts_columns, granularity_of, texts_of
from service.retrieval.languages import detect
from service.retrieval.reading import space_of
from service.retrieval.values import Entry
from service.rows import BadRow, Row, document_of


async def index(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    """Write a shard's documents; done again, it writes the same ones."""
    collection = await on_collection(context, spec, lambda found, _: found)
    texts, bad = texts_of(spec, rows, context.settings)
    drafts: list[tuple[int, Draft]] = []
    for each in texts:
        try:
            document = document_of(each.row, spec.inputs[0].columns, spec.options["prefix"])
            drafts.append((each.row.number, _defaults(context.draft(document), spec)))
        except (InvalidInput, TooLarge) as error:
            bad.append(BadRow(each.row.number, error.message))
    own = collection.settings.granularity
    units = [
        Unit(draft.text, str(number), granularity_of(draft.granularity or own))
        for number, draft in drafts
    ]
    encoded, refused = await encode(context, units, Options())
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
        await on_collection(
            context,
            spec,
            lambda found, _: found.upsert([entries[i] for i in last], encoded.vectors[last]),
            "write",
        )
    table = {
        "line": [number for number, _ in drafts],
        "id": [entry.id for entry in entries],
        "language": languages,
        **facts_columns(encoded.facts),
    }
    return Outcome(table, sorted([*bad, *refused], key=lambda each: each.number))


def shape(spec: Spec, manifest: Manifest) -> Shape:
    """What the head of the results tells."""
    return Shape(("line", "id", "language", *FACTS))


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
