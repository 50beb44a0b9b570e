"""The texts of a shard's rows and their vectors, with the rows that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.bundle import Granularity
from service.encoding.encoder import Encoded, Engine, Facts, Options, Unit, check_text
from service.errors import InvalidInput, Overloaded, TooLarge
from service.jobs.context import Context
from service.jobs.specs import Spec
from service.rows import BadRow, Row
from service.settings import Settings

# Texts that are handed to the engine together: few, so that a job holds little of the queue, and
# enough that texts of like length meet.
_TEXTS = 256
_CHARACTERS = 65_536
# And so many times that, so that the model finds the next ones when it is done.
_AHEAD = 2

# What is told of each text beside its vector.
FACTS = ("granularity", "adapter", "tokens", "truncated")


@dataclass(frozen=True, slots=True)
class Text:
    """A row with a text that can be embedded."""

    row: Row
    text: str
    id: str | None


def texts_of(
    spec: Spec, rows: Sequence[Row | BadRow], settings: Settings
) -> tuple[list[Text], list[BadRow]]:
    """The rows with a text that can be embedded, and the others."""
    columns = spec.inputs[0].columns
    texts: list[Text] = []
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
            texts.append(Text(row, str(text), None if id_ is None else str(id_)))
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


def granularity_of(name: str) -> Granularity | None:
    """The granularity that an option names; None for `auto`."""
    return None if name == "auto" else Granularity(name)


async def encode(
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


def facts_columns(facts: Sequence[Facts]) -> dict[str, list[Any]]:
    """The columns `FACTS` of a table."""
    return {
        "granularity": [str(each.granularity) for each in facts],
        "adapter": [each.adapter for each in facts],
        "tokens": [each.tokens for each in facts],
        "truncated": [each.truncated for each in facts],
    }
