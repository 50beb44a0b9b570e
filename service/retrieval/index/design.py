"""How an approximate index may be made: its kind, and the numbers of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from service.control_groups import memory_bytes
from service.errors import InvalidInput
from service.retrieval.index.values import RECALL_AT, IndexWish

Approximate = Literal["hnsw", "ivf"]

_KEY_BYTES = 25  # a key, the same in order with its position, and whether it is alive
_NUMBER_BYTES = 8  # FAISS's own number of a vector, in an inverted list

# The vectors of one index may be counted on to lie in memory up to this part of it: there are
# other collections, other processes of the server, and the model.
_MEMORY_PARTS = 8


@dataclass(frozen=True, slots=True)
class Design:
    """What is fixed when an index is built; what a search may vary is its `Effort`."""

    kind: Approximate
    parameters: Mapping[str, int]

    def bytes_per_vector(self, dimension: int) -> float:
        """Memory that one vector takes, about: codes, links, lists and keys."""
        own = self.parameters
        if self.kind == "hnsw":
            # Twice the links at the lowest level, of 4 bytes each, and a little above it.
            return dimension + 4 * 2 * own["m"] * 1.06 + 8 + _KEY_BYTES
        refined = dimension if own["refine"] else 0
        return own["pq"] / 2 + _NUMBER_BYTES + refined + _KEY_BYTES


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search tries.

    `reach` is nprobe, the lists that are read, or ef_search, the nodes that are kept in sight;
    `width` how many candidates for each hit wanted go from product codes to the next stage.
    """

    reach: int
    width: int = 1

    def at_least(self, other: Effort) -> Effort:
        """The further of both, and the wider."""
        return Effort(max(self.reach, other.reach), max(self.width, other.width))

    def for_share(self, share: float, most: int) -> Effort:
        """The effort where only `share` of the vectors may be found: further, up to `most`."""
        return self._further(min(16.0, 1 / share), most)

    def for_count(self, k: int, most: int) -> Effort:
        """The effort for k hits: more where they are more than were measured, by their root."""
        # An audit asks for one more, since a query that is in the index finds itself.
        measured = RECALL_AT + 1
        return self._further(math.sqrt(k / measured), most) if k > measured else self

    def _further(self, times: float, most: int) -> Effort:
        return Effort(max(self.reach, min(math.ceil(self.reach * times), most)), self.width)


@dataclass(frozen=True, slots=True)
class Efforts:
    """How hard searches of all vectors try, and those of a part that a filter lets through.

    What is near among a part is farther away than what is near among all, and codes tell it apart
    less well: that may take more candidates.
    """

    plain: Effort
    filtered: Effort

    @classmethod
    def same(cls, effort: Effort) -> Self:
        """One for both."""
        return cls(effort, effort)


# What a caller may fix, with the least and the most; nprobe and ef_search are measured otherwise.
PARAMETERS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "flat": {},
    "hnsw": {"m": (4, 128), "ef_construction": (8, 2000), "ef_search": (1, 10_000)},
    "ivf": {
        "nlist": (1, 1 << 20),
        "pq": (1, 4096),
        "refine": (0, 1),
        "nprobe": (1, 1 << 20),
        "width": (1, 1000),
    },
}
# The ones that tell a search's effort, not how the index is made.
REACH: Mapping[Approximate, str] = {"hnsw": "ef_search", "ivf": "nprobe"}


def check(wish: IndexWish, dimension: int) -> None:
    """Refuse parameters that the kind does not have or cannot take; InvalidInput says which."""
    if wish.kind == "auto":
        if wish.parameters:
            raise InvalidInput(
                "index.parameters are those of a kind; name it in index.kind, or leave them out",
                "index.parameters",
            )
        return
    allowed = PARAMETERS[wish.kind]
    for name, value in wish.parameters.items():
        if name not in allowed:
            raise InvalidInput(
                f"index.parameters has {name!r}; {wish.kind} takes {', '.join(allowed) or 'none'}",
                "index.parameters",
            )
        least, most = allowed[name]
        if not least <= value <= most:
            raise InvalidInput(
                f"index.parameters.{name} is {value}; use {least} to {most}", "index.parameters"
            )
    if (pq := wish.parameters.get("pq")) and dimension % pq:
        raise InvalidInput(
            f"index.parameters.pq is {pq}; use a divisor of the {dimension} dimensions",
            "index.parameters",
        )


def designs(size: int, dimension: int, wish: IndexWish) -> list[Design]:
    """What may be built for `size` vectors, as `wish` says, the most promising first.

    Raises InvalidInput where the memory that is allowed holds none.
    """
    own = wish.parameters
    ivf = {
        "nlist": min(own.get("nlist", lists_for(size)), size),
        "pq": own.get("pq", _pq_for(dimension)),
        "refine": own.get("refine", 1),
    }
    hnsw = {"m": own.get("m", 32), "ef_construction": own.get("ef_construction", 80)}
    able = [
        design
        for design in (Design("ivf", ivf), Design("hnsw", hnsw))
        if wish.kind in ("auto", design.kind) and fits(design, size, dimension, wish)
    ]
    # A sixth of the memory, but every query then reads many more vectors from the store.
    small = Design("ivf", {**ivf, "refine": 0})
    if not able and wish.kind != "hnsw" and not own.get("refine"):
        able = [small] if fits(small, size, dimension, wish) else []
    if not able:
        smallest = Design("hnsw", hnsw) if wish.kind == "hnsw" else small
        least = smallest.bytes_per_vector(dimension)
        raise InvalidInput(
            f"index.memory_bytes is {wish.memory_bytes}; {size} vectors of {dimension} dimensions "
            f"need about {math.ceil(size * least)}",
            "index.memory_bytes",
        )
    return able


def fits(design: Design, size: int, dimension: int, wish: IndexWish) -> bool:
    """Whether the memory that `wish` allows holds `size` vectors in this design."""
    allowed = wish.memory_bytes
    return allowed is None or size * design.bytes_per_vector(dimension) <= allowed


def at_hand(design: Design, size: int, dimension: int, wish: IndexWish) -> bool:
    """Whether there is memory for all `size` vectors themselves, beside the codes of `design`."""
    allowed = memory_bytes() / _MEMORY_PARTS
    if wish.memory_bytes is not None:
        allowed = min(allowed, wish.memory_bytes - size * design.bytes_per_vector(dimension))
    return 4 * size * dimension <= allowed


def lists_for(size: int) -> int:
    """Inverted lists for `size` vectors: the power of two nearest to 4 √size, within reason."""
    wanted = 4 * math.sqrt(max(size, 1))
    # At least some ten vectors to train each centre with.
    return int(min(2 ** round(math.log2(wanted)), max(1, size // 10), 1 << 17))


def _pq_for(dimension: int) -> int:
    """Product codes of four dimensions each, or as near as the dimension divides."""
    for per_code in (4, 3, 2):
        if dimension % per_code == 0:
            return dimension // per_code
    return dimension
