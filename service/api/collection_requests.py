"""What the handlers of collections share: reaching one, and values in and out."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson
from starlette.requests import Request

from models.bundle import Manifest
from service.api.collection_schemas import CountRequest, FieldName, MadeBy, Metadata
from service.api.requests import service_of, unless_gone
from service.errors import InvalidInput, NotComparable, TooLarge, quote
from service.retrieval import collection as retrieval
from service.retrieval.filters import Condition, all_of, one_of, parse_filter
from service.retrieval.reading import is_current
from service.retrieval.values import OWN, Cancel, Document, Floats, Space
from service.retrieval.work import Kind

TAG = "collections"

# What every operation on collections may answer instead, and what those with a body may besides.
ERRORS = (404, 422, 503, 507)
BODY_ERRORS = (400, 404, 409, 413, 415, 422, 500, 503, 507)

# Bytes of one document's metadata.
MAX_METADATA_BYTES = 65_536

# How far from 1 the length of a unit vector of float32 may be.
_UNIT_ERROR = 1e-6

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_Result = TypeVar("_Result")


async def on_collection(
    request: Request,
    function: Callable[[retrieval.Collection, Cancel], _Result],
    kind: Kind = "search",
) -> _Result:
    """What `function` makes of the collection that the path names, in a thread of a kind.

    The request's body, if any, must have been read. Ends as soon as the client is gone.
    """
    work = service_of(request).collections
    name = request.path_params["name"]
    return await unless_gone(
        request, work.run(kind, lambda cancel: function(work.collections.get(name), cancel))
    )


def condition_of(body: CountRequest) -> Condition:
    """What a request narrows the documents by, all of it together."""
    conditions = [] if body.filter is None else [parse_filter(body.filter)]
    if body.languages is not None:
        conditions.append(one_of("language", body.languages))
    if body.granularities is not None:
        conditions.append(one_of("granularity", body.granularities))
    return all_of(conditions)


def check_ids(ids: Sequence[str], param: str, limit: int) -> None:
    """Raise InvalidInput for ids that repeat or hold control characters, and for no ids at all."""
    if not ids:
        raise InvalidInput(f"{param} is an empty list; send at least one", param)
    if len(ids) > limit:
        raise TooLarge(
            f"{param} has {len(ids)} items; at most {limit} are allowed (POLYGRAIN_MAX_ITEMS): "
            "send them in several requests",
            param,
        )
    first: dict[str, int] = {}
    for index, id_ in enumerate(ids):
        if _CONTROL.search(id_):
            raise InvalidInput(
                f"{param}[{index}] has the id {quote(id_)}, with a control character in it", param
            )
        if first.setdefault(id_, index) != index:
            raise InvalidInput(
                f"{param}[{index}] has the id {quote(id_)} of {param}[{first[id_]}]; send each "
                "document once",
                f"{param}[{index}].id",
            )


def metadata_json(metadata: Metadata, param: str) -> bytes:
    """Metadata as it is stored."""
    try:
        written = json.dumps(
            metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except ValueError:
        raise InvalidInput(
            f"{param} holds NaN or an infinite number; JSON has none", param
        ) from None
    if len(written) > MAX_METADATA_BYTES:
        raise TooLarge(
            f"{param} has {len(written)} bytes; at most {MAX_METADATA_BYTES} are allowed", param
        )
    return written


def made_by(body: MadeBy, manifest: Manifest) -> Space:
    """What a request says that made its vectors."""
    if body.adapter is None:
        if body.bundle is not None or body.version is not None:
            raise InvalidInput(
                "bundle or version is given without adapter; say which adapter made the vectors, "
                "or leave all three out for vectors that are not ours",
                "adapter",
            )
        return OWN
    space = Space(body.bundle or manifest.name, body.version or manifest.version, body.adapter)
    names = [adapter.name for adapter in manifest.adapters]
    if is_current(space, manifest) and body.adapter not in names:
        raise InvalidInput(
            f"adapter is {quote(body.adapter)}; {manifest.name} {manifest.version} has "
            f"{', '.join(names)}",
            "adapter",
        )
    return space


def vector_rows(
    values: Sequence[Sequence[float] | str], dimensions: int, param: Callable[[int], str]
) -> Floats:
    """The vectors of a request as unit rows (n, dimensions)."""
    rows = np.empty((len(values), dimensions), np.float64)
    for index, value in enumerate(values):
        numbers = _decoded(value, param(index)) if isinstance(value, str) else value
        if len(numbers) != dimensions:
            raise InvalidInput(
                f"{param(index)} has {len(numbers)} dimensions; the collection has {dimensions}",
                param(index),
            )
        rows[index] = numbers
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        raise InvalidInput(
            f"{param(int(bad[0]))} has length {norms[bad[0]]}; send a vector with a direction",
            param(int(bad[0])),
        )
    # What is a unit vector already stays as it is, to the bit.
    norms = np.where(np.abs(norms - 1) < _UNIT_ERROR, 1, norms)
    return np.ascontiguousarray(rows / norms[:, None], np.float32)


def _decoded(value: str, param: str) -> Floats:
    try:
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4")
    except (binascii.Error, ValueError):
        raise InvalidInput(
            f"{param} is a string that is not base64 of little-endian float32", param
        ) from None


def check_makes(dimensions: int, manifest: Manifest) -> None:
    """Raise NotComparable where the bundle's vectors do not fit a collection."""
    if dimensions != manifest.dimension:
        raise NotComparable(
            f"the collection has vectors of {dimensions} dimensions, and {manifest.name} "
            f"{manifest.version} makes {manifest.dimension}; send vectors, or export the texts and "
            "import them into a new collection"
        )


def document_json(
    document: Document,
    include: Collection[FieldName],
    spaces: Mapping[int, Space],
    vector: Floats | None = None,
) -> dict[str, Any]:
    """A document as answers tell it, with the fields that were asked for."""
    values: dict[FieldName, Any] = {
        "text": document.text,
        "language": document.language,
        "granularity": document.granularity,
        # As it is stored: not read to be written again.
        "metadata": orjson.Fragment(document.metadata),
        "adapter": spaces[document.space].adapter,
        "vector": vector,
    }
    return {"id": document.id} | {name: values[name] for name in values if name in include}
