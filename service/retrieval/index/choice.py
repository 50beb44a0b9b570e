"""Which approximate index a collection gets, and how hard it is searched: both are measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from service.retrieval.index import audit
from service.retrieval.index.audit import Sample
from service.retrieval.index.design import (
    REACH,
    Design,
    Effort,
    Efforts,
    at_hand,
    designs,
    lists_for,
)
from service.retrieval.index.searching import COMPARED_ROWS
from service.retrieval.index.structure import Structure
from service.retrieval.index.values import Floats, IndexReport, IndexWish, Keys

logger = logging.getLogger(__name__)

# Designs are compared on so many vectors of the collection.
_COMPARED_ON = 30_000
_TUNED_ON = 256
_AUDITED_ON = 512
# The first design is built faster and takes less memory: another must be so much faster.
_WORTH_IT = 1.5
_REACHES = tuple(sorted({round(2 ** (step / 2)) for step in range(27)}))  # 1, 2, 3, 4, 6 … 8192
_WIDTHS = (128, 64, 32, 16, 8, 4, 2)


@dataclass(frozen=True, slots=True)
class Built:
    """A structure with the efforts chosen for it and what its audit found."""

    structure: Structure
    efforts: Efforts
    recall: float
    filtered_recall: float
    audited_queries: int
    at_hand: bool  # it was measured with all vectors in memory

    def report(self, of: IndexReport) -> IndexReport:
        """`of` with what is known here."""
        design = self.structure.design
        parameters = dict(design.parameters)
        for prefix, effort in (("", self.efforts.plain), ("filtered_", self.efforts.filtered)):
            parameters[prefix + REACH[design.kind]] = effort.reach
            if design.kind == "ivf":
                parameters[prefix + "width"] = effort.width
        return replace(
            of,
            kind=design.kind,
            parameters=parameters,
            recall=self.recall,
            filtered_recall=self.filtered_recall,
            audited_queries=self.audited_queries,
        )


def build(keys: Keys, vectors: Floats, wish: IndexWish, on: int = 1) -> Built:
    """The best structure for `vectors` (n, dim): the first to pass, or the one with most recall.

    Raises InvalidInput where the memory that `wish` allows holds none. On `on` threads.
    """
    able = designs(len(keys), vectors.shape[1], wish)
    tuned_on = audit.sample(vectors, _TUNED_ON, 0, on=on)
    tuned_filtered_on = audit.sample(vectors, _TUNED_ON, 0, filtered=True, on=on)
    audited_on = audit.sample(vectors, _AUDITED_ON, 1, on=on)
    filtered_on = audit.sample(vectors, _AUDITED_ON, 2, filtered=True, on=on)
    best: Built | None = None
    for design in _ranked(able, vectors, wish, on):
        structure = Structure.build(design, keys, vectors, on)
        all_in = at_hand(design, len(keys), vectors.shape[1], wish)
        efforts = _efforts(structure, tuned_on, tuned_filtered_on, wish, all_in)
        built = Built(
            structure,
            efforts,
            audit.recall(structure, efforts.plain, audited_on, at_hand=all_in),
            audit.recall(structure, efforts.filtered, filtered_on, at_hand=all_in),
            len(audited_on.rows),
            all_in,
        )
        if passes(built, wish):
            return built
        if best is None or built.recall > best.recall:
            best = built
    assert best is not None  # `designs` gives one at least
    return best


def passes(built: Built, wish: IndexWish) -> bool:
    """Whether an audit found what was asked for, under a filter too."""
    return min(built.recall, built.filtered_recall) >= wish.recall


def _ranked(able: list[Design], vectors: Floats, wish: IndexWish, on: int) -> Iterator[Design]:
    """The designs in the order in which they should be tried."""
    if len(able) == 1:
        return iter(able)
    size = len(vectors)
    if size > _COMPARED_ON:
        chosen = np.random.default_rng(3).choice(len(vectors), _COMPARED_ON, replace=False)
        vectors = np.ascontiguousarray(vectors[np.sort(chosen)])
    tuned_on = audit.sample(vectors, _TUNED_ON, 0, on=on)
    numbers = np.arange(len(vectors))
    costs = []
    for place, design in enumerate(able):
        all_in = at_hand(design, size, vectors.shape[1], wish)
        smaller = design
        if design.kind == "ivf" and "nlist" not in wish.parameters:
            parameters = {**design.parameters, "nlist": lists_for(len(vectors))}
            smaller = replace(design, parameters=parameters)
        structure = Structure.build(smaller, numbers, vectors, on)
        effort = tune(structure, tuned_on, wish, all_in)
        found, query_s = audit.measured(structure, effort, tuned_on, at_hand=all_in)
        logger.info(
            "index_compared kind=%s recall=%.3f query_us=%.0f on=%d",
            design.kind,
            found,
            query_s * 1e6,
            len(vectors),
        )
        costs.append((found < aim(wish), query_s * (_WORTH_IT if place else 1), place))
    return iter([able[place] for *_, place in sorted(costs)])


def _efforts(
    structure: Structure, on: Sample, filtered_on: Sample, wish: IndexWish, all_in: bool
) -> Efforts:
    """The fastest with the recall aimed at, of all vectors and under a filter."""
    plain = tune(structure, on, wish, all_in)
    allowed = filtered_on.allowed
    if allowed is None or len(allowed) <= COMPARED_ROWS:
        return Efforts.same(plain)  # what passes the filter is compared as a whole
    filtered = tune(structure, filtered_on, wish, all_in)
    # A filter that lets nearly all through is answered as if there were none.
    return Efforts(plain, plain.at_least(filtered))


def aim(wish: IndexWish) -> float:
    """The recall to tune for: a little above the wish, since other queries find other shares."""
    return wish.recall + 0.2 * (1 - wish.recall)


def tune(structure: Structure, on: Sample, wish: IndexWish, all_in: bool) -> Effort:
    """The fastest effort with the recall aimed at, or the one with the most recall.

    `all_in` tells whether all vectors lie in memory. What the caller fixed stays fixed.
    """
    own = wish.parameters
    kind = structure.design.kind
    reaches = [reach for reach in _REACHES if reach <= structure.most_reach]
    widths = list(_WIDTHS) if kind == "ivf" else [1]
    if REACH[kind] in own:
        reaches = [min(own[REACH[kind]], structure.most_reach)]
    if kind == "ivf" and "width" in own:
        widths = [own["width"]]
    found: list[tuple[float, Effort]] = []
    for width in widths:
        reach = _least(structure, on, aim(wish), reaches, width, all_in)
        if reach is None:
            break  # narrower still finds less
        effort = Effort(reach, width)
        found.append((audit.measured(structure, effort, on, at_hand=all_in)[1], effort))
    if not found:
        return Effort(reaches[-1], widths[0])
    return min(found, key=lambda each: each[0])[1]


def _least(
    structure: Structure, on: Sample, recall: float, reaches: list[int], width: int, all_in: bool
) -> int | None:
    """The least reach with that recall, which rises with the reach; None where none has it."""
    low, high = 0, len(reaches)
    while low < high:
        middle = (low + high) // 2
        effort = Effort(reaches[middle], width)
        if audit.recall(structure, effort, on, at_hand=all_in) >= recall:
            high = middle
        else:
            low = middle + 1
    return reaches[low] if low < len(reaches) else None
