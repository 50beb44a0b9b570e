"""Which adapter reads documents and queries, so that what is compared is comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import Granularity, Manifest
from service.encoding.granularity import route
from service.encoding.texts import Unit, check_text
from service.retrieval.values import OWN, Floats, Space


def is_current(space: Space, manifest: Manifest) -> bool:
    """Whether the bundle that is served made the vectors of a space."""
    return (space.bundle, space.version) == (manifest.name, manifest.version)


def space_of(manifest: Manifest, adapter: str) -> Space:
    """The space of an adapter of the bundle that is served."""
    return Space(manifest.name, manifest.version, adapter)


@dataclass(frozen=True, slots=True)
class Reading:
    """Queries as units to embed, each for some of the spaces: `rows[space]` are the units of the
    queries for it, (queries,)."""

    units: list[Unit]
    rows: Mapping[int, list[int]]

    def vectors(self, embedded: Floats) -> dict[int, Floats]:
        """The vectors of the queries for each space, from those of the units."""
        return {space: embedded[rows] for space, rows in self.rows.items()}


def read_queries(
    texts: Sequence[str],
    granularity: str,
    spaces: Mapping[int, Space],
    manifest: Manifest,
    param: str = "queries",
) -> Reading:
    """How texts are read to be compared with what is in `spaces`.

    A query takes the adapter of its own granularity where that compares with a space's, and the
    space's own adapter otherwise. A granularity that the caller chose is kept. Spaces that nothing
    compares with get none: other bundles' and versions', and the caller's own vectors.
    """
    units: list[Unit] = []
    places: dict[tuple[str, str], int] = {}
    rows: dict[int, list[int]] = {}
    own = [
        _own_adapter(text, granularity, manifest, f"{param}[{i}]") for i, text in enumerate(texts)
    ]
    for number, space in spaces.items():
        if not is_current(space, manifest) or space.adapter is None:
            continue
        compares = [manifest.is_comparable(adapter, space.adapter) for adapter in own]
        if granularity != "auto" and not all(compares):
            continue
        rows[number] = []
        for index, text in enumerate(texts):
            adapter = own[index] if compares[index] else space.adapter
            if (text, adapter) not in places:
                places[text, adapter] = len(units)
                units.append(Unit(text, f"{param}[{index}]", adapter=adapter))
            rows[number].append(places[text, adapter])
    return Reading(units, rows)


def _own_adapter(text: str, granularity: str, manifest: Manifest, origin: str) -> str:
    check_text(text, origin)
    chosen = route(text) if granularity == "auto" else Granularity(granularity)
    return manifest.routing[chosen]


def read_vectors(
    vectors: Floats, made_by: Space, spaces: Mapping[int, Space], manifest: Manifest
) -> dict[int, Floats]:
    """The vectors of queries for each space that they compare with.

    Vectors that nobody is named for compare with the only space that there is.
    """
    if made_by == OWN and len(spaces) == 1:
        return dict.fromkeys(spaces, vectors)
    return {
        number: vectors for number, space in spaces.items() if _compares(made_by, space, manifest)
    }


def _compares(one: Space, other: Space, manifest: Manifest) -> bool:
    if one == other:
        return True
    if one.adapter is None or other.adapter is None:
        return False
    # What other bundles say of their adapters is not known here.
    current = is_current(one, manifest) and is_current(other, manifest)
    return current and manifest.is_comparable(one.adapter, other.adapter)


def unit_rows(vectors: Floats) -> Floats:
    """Vectors (n, dimensions) given length 1; zero rows stay zero."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    rows: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return np.ascontiguousarray(rows)
