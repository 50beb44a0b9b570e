"""An embed job: the vector of each text, as `POST /embed` gives it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.bundle import Manifest
from service.encoding.encoder import Options, Unit
from service.encoding.quantization import to_binary, to_int8, truncate
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.jobs.context import Context
from service.jobs.results import Outcome, Shape
from service.jobs.specs import Spec
from service.jobs.texts import FACTS, Text, encode, facts_columns, granularity_of, texts_of
from service.rows import BadRow, Row


async def embed(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    """The vectors of a shard's texts."""
    options = spec.options
    texts, bad = texts_of(spec, rows, context.settings)
    granularity = granularity_of(options["granularity"])
    units = [
        Unit(each.text, str(each.row.number), granularity, options["adapter"]) for each in texts
    ]
    wanted = Options(LongText(options["long_text"]), options["normalize"])
    encoded, refused = await encode(context, units, wanted)
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
        **facts_columns(encoded.facts),
    }
    return Outcome(table, bad)


def shape(spec: Spec, manifest: Manifest) -> Shape:
    """What the head of the results tells."""
    options = spec.options
    width = options["dimensions"] or manifest.dimension
    dtype, width = {
        "int8": ("|i1", width),
        "binary": ("|u1", -(-width // 8)),
    }.get(options["encoding"], ("<f4", width))
    return Shape(("line", "id", "embedding", *FACTS), dtype, width)


def _written(vectors: Vectors, options: dict[str, Any]) -> np.ndarray[Any, Any]:
    """What is written of each vector: (texts, values)."""
    dimensions = options["dimensions"]
    if dimensions is not None and dimensions < vectors.shape[1]:
        vectors = truncate(vectors, dimensions, normalize=options["normalize"])
    quantize = {"int8": to_int8, "binary": to_binary}.get(options["encoding"])
    return np.ascontiguousarray(vectors, "<f4") if quantize is None else quantize(vectors)


def _with_gaps(
    vectors: np.ndarray[Any, Any], texts: Sequence[Text], rows: Sequence[Row | BadRow]
) -> np.ndarray[Any, Any]:
    """One row of an array for each row of the input: NaN, or 0 in integers, where it was bad."""
    gap = np.nan if vectors.dtype.kind == "f" else 0
    whole = np.full((len(rows), vectors.shape[1]), gap, vectors.dtype)
    place = {row.number: index for index, row in enumerate(rows)}
    whole[[place[each.row.number] for each in texts]] = vectors
    return whole


def _base64(vectors: np.ndarray[Any, Any]) -> list[str]:
    return [base64.b64encode(row.tobytes()).decode() for row in vectors]
