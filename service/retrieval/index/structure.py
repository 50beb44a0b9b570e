"""The built, approximate part of an index: a graph or inverted lists over codes of its vectors.

A structure never changes once a search can see it: growing makes a copy. Vectors are numbered by
position, and a table maps positions to keys.

- `ivf`: inverted lists of product codes of four bits, scanned in registers (André et al. 2017,
  "Accelerated Nearest Neighbor Search with Quick ADC"); the best `width` times as many as are
  wanted are scored again by a code of eight bits per dimension (`refine`).
- `hnsw`: a navigable small world graph (Malkov and Yashunin 2018) over codes of eight bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.faiss_library import faiss, threads
from service.retrieval.index import exact
from service.retrieval.index.design import Design, Effort
from service.retrieval.index.values import Floats, Keys

Bits = NDArray[np.uint8]

_BLOCK_ROWS = 16_384
# Centres are trained on so many vectors each, and product codes on at most so many in all.
_TRAINED_PER_LIST = 40
_TRAINED_ROWS = 65_536
_ITERATIONS = 10


@dataclass(frozen=True, slots=True)
class Structure:
    """Vectors by position in a FAISS index, with the key of each."""

    design: Design
    faiss_index: Any
    keys: Keys  # (n,) by position; a key may stand at several, of which one at most is alive
    sorted_keys: Keys  # (n,)
    positions: Keys  # (n,) of `sorted_keys`
    trained_size: int  # vectors when it was built

    @classmethod
    def build(cls, design: Design, keys: Keys, vectors: Floats, on: int = 1) -> Self:
        """A structure of `vectors` (n, dim), n of at least 1, computed on so many threads."""
        with threads(on):
            index = _MAKERS[design.kind](design, vectors.shape[1])
            _train(index, design, vectors)
            for block in blocks(vectors):
                index.add(block)
        return cls.of(design, index, keys, len(keys))

    @classmethod
    def of(cls, design: Design, index: Any, keys: Keys, trained_size: int) -> Self:  # noqa: ANN401
        """A structure around a filled FAISS index whose vectors have `keys`, by position."""
        positions = np.argsort(keys, kind="stable")
        return cls(design, index, keys, keys[positions], positions, trained_size)

    def grown(self, keys: Keys, vectors: Floats) -> Self:
        """A copy with more vectors; this one stays as it is."""
        index = faiss.clone_index(self.faiss_index)
        with threads(1):
            for block in blocks(vectors):
                index.add(block)
        return self.of(self.design, index, np.concatenate([self.keys, keys]), self.trained_size)

    def __len__(self) -> int:
        """Positions, those of removed vectors included."""
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """Numbers of each vector."""
        return int(self.faiss_index.d)

    @property
    def bytes(self) -> int:
        """Memory held, about."""
        return int(len(self) * self.design.bytes_per_vector(self.dimension))

    @property
    def most_reach(self) -> int:
        """The largest reach that makes sense."""
        return self.design.parameters["nlist"] if self.design.kind == "ivf" else max(16, len(self))

    def positions_of(self, keys: Keys) -> Keys:
        """Every position, alive or not, of each of `keys` that is here."""
        first = np.searchsorted(self.sorted_keys, keys, "left")
        counts = np.searchsorted(self.sorted_keys, keys, "right") - first
        starts = np.repeat(first - (np.cumsum(counts) - counts), counts)
        found: Keys = self.positions[starts + np.arange(counts.sum())]
        return found

    def candidates(self, queries: Floats, count: int, effort: Effort, bits: Bits | None) -> Keys:
        """About the `count` best positions of each query, -1 where fewer were found.

        Only positions whose bit is set in `bits` (lowest bit first), where it is given.
        """
        count = min(count, len(self))
        if self.design.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(
                efSearch=max(effort.reach, count), sel=_selector(bits)
            )
        elif self.design.parameters["refine"]:
            parameters = faiss.IndexRefineSearchParameters(
                # Of the small numbers that a width gives, all are found as they are.
                k_factor=float(min(effort.width, len(self) / count)),
                base_index_params=_probing(effort, bits),
            )
        else:
            return self.listed(queries, count, effort, bits)
        with threads(1):
            positions: Keys = self.faiss_index.search(queries, count, params=parameters)[1]
        return positions

    def listed(self, queries: Floats, count: int, effort: Effort, bits: Bits | None) -> Keys:
        """What inverted lists find by product codes alone: `width` times `count` positions."""
        lists = (
            self.faiss_index.base_index if self.design.parameters["refine"] else self.faiss_index
        )
        count = min(count * effort.width, len(self))
        with threads(1):
            positions: Keys = lists.search(queries, count, params=_probing(effort, bits))[1]
        return positions

    def among(self, queries: Floats, positions: Keys, count: int) -> tuple[Floats, Keys] | None:
        """The `count` best of `positions` (m,) by codes of eight bits, all of them compared.

        None where the structure has no such codes.
        """
        quantizer = self._quantizer()
        if quantizer is None:
            return None
        codes = faiss.rev_swig_ptr(quantizer.codes.data(), quantizer.codes.size())
        rows = codes.reshape(len(self), -1)
        found = exact.empty(len(queries), count)
        with threads(1):
            for start in range(0, len(positions), _BLOCK_ROWS):
                some = positions[start : start + _BLOCK_ROWS]
                decoded = quantizer.sa_decode(np.ascontiguousarray(rows[some]))
                scores, places = exact.nearest(queries, decoded, count, None)
                found = exact.merged(found, (scores, exact.at(some, places)), count)
        return found

    def _quantizer(self) -> Any:  # noqa: ANN401
        """The part that holds codes of eight bits by position."""
        if self.design.kind == "hnsw":
            return faiss.downcast_index(self.faiss_index.storage)
        if self.design.parameters["refine"]:
            return faiss.downcast_index(self.faiss_index.refine_index)
        return None


def _selector(bits: Bits | None) -> Any:  # noqa: ANN401
    return None if bits is None else faiss.IDSelectorBitmap(bits)


def _probing(effort: Effort, bits: Bits | None) -> Any:  # noqa: ANN401
    return faiss.SearchParametersIVF(nprobe=effort.reach, sel=_selector(bits))


def blocks(vectors: Floats) -> Iterator[Floats]:
    """The rows in blocks, contiguous, whatever they lie in."""
    for start in range(0, len(vectors), _BLOCK_ROWS):
        yield np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS], np.float32)


def _inverted_lists(design: Design, dimension: int) -> Any:  # noqa: ANN401
    own = design.parameters
    quantizer = faiss.IndexFlatIP(dimension)
    lists = faiss.IndexIVFPQFastScan(
        quantizer, dimension, own["nlist"], own["pq"], 4, faiss.METRIC_INNER_PRODUCT
    )
    # The C++ object refers to the quantizer, which Python would otherwise let go of.
    quantizer.this.disown()
    lists.own_fields = True
    for clustering in (lists.cp, lists.pq.cp):
        clustering.min_points_per_centroid = 1  # fewer are no reason for a line on standard error
    lists.cp.niter = _ITERATIONS
    lists.cp.spherical = True
    if not own["refine"]:
        return lists
    codes = faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    refined = faiss.IndexRefine(lists, codes)
    for part in (lists, codes):
        part.this.disown()
    refined.own_fields = refined.own_refine_index = True
    return refined


def _graph(design: Design, dimension: int) -> Any:  # noqa: ANN401
    own = design.parameters
    graph = faiss.IndexHNSWSQ(
        dimension, faiss.ScalarQuantizer.QT_8bit, own["m"], faiss.METRIC_INNER_PRODUCT
    )
    graph.hnsw.efConstruction = own["ef_construction"]
    return graph


_MAKERS = {"ivf": _inverted_lists, "hnsw": _graph}


def _train(index: Any, design: Design, vectors: Floats) -> None:  # noqa: ANN401
    wanted = _TRAINED_ROWS
    if design.kind == "ivf":
        wanted = max(wanted, _TRAINED_PER_LIST * design.parameters["nlist"])
    if len(vectors) > wanted:
        # Sorted, so that a file is read in one direction.
        chosen = np.random.default_rng(0).choice(len(vectors), wanted, replace=False)
        vectors = vectors[np.sort(chosen)]
    index.train(np.ascontiguousarray(vectors, np.float32))
