"""The indexes that are compared: each is built, and searched with more and more effort."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hnswlib
import numpy as np
from usearch.index import Index as UsearchIndex

from service.faiss_library import SHIPPED_THRESHOLD, faiss
from service.retrieval.collection import Collection
from service.retrieval.index import Floats, Index, IndexWish, Keys
from service.retrieval.index.design import Effort, lists_for
from service.retrieval.searching import Query
from service.retrieval.values import OWN, CollectionSettings, Entry, Named

M = 16
EF_CONSTRUCTION = 100
_BATCH = 10_000  # documents of a write
# Of each side the least effort is sought: steps of a fifth, so that no side has much too much.
_GRAPH = [Effort(round(10 * 2 ** (step / 4))) for step in range(32)]
_REACHES = sorted({round(2 ** (step / 4)) for step in range(40)})
_LISTS = [Effort(reach, width) for width in (2, 4, 8, 16, 32, 64, 128) for reach in _REACHES]
_ONE = [Effort(1)]


# (queries, k, effort) -> what a caller gets for the k nearest of each query
Search = Callable[[Floats, int, Effort], Any]


@dataclass(frozen=True, slots=True)
class Searcher:
    """A built index, the efforts that it may be searched with, rising for each width, and what it
    holds."""

    search: Search
    efforts: Sequence[Effort]
    what: str
    # Outside of what is timed: the keys (queries, k) in what `search` gave.
    keys: Callable[[Any], Keys] = np.asarray


# vectors -> what is searched; under more than one name where the same index is searched in ways
Build = Callable[[Floats], Mapping[str, Searcher]]


def _ours(wish: IndexWish) -> Build:
    def build(vectors: Floats) -> Mapping[str, Searcher]:
        index = Index.build(np.arange(len(vectors)), vectors, wish, vectors.__getitem__)
        report = index.report
        numbers = ", ".join(f"{name} {value}" for name, value in report.parameters.items())
        what = f"{report.kind} {numbers}; audited {report.recall:.3f}"
        chosen = index.effort
        if chosen is None:
            only = Searcher(lambda queries, k, _: index.search(queries, k).keys, _ONE, what)
            return {"ours, index alone": only}
        views = {effort: index.tried(effort) for effort in _efforts(chosen)}
        search: Search = lambda queries, k, effort: views[effort].search(queries, k).keys  # noqa: E731
        return {"ours, index alone": Searcher(search, list(views), what)}

    return build


def _collection(wish: IndexWish) -> Build:
    """A collection on the disk, searched as a request is: what comes are ids and scores."""

    def build(vectors: Floats) -> Mapping[str, Searcher]:
        folder = TemporaryDirectory(prefix="polygrain-benchmark-")
        atexit.register(folder.cleanup)
        Collection.create(Path(folder.name), CollectionSettings(vectors.shape[1], index=wish))
        collection = Collection.open("benchmark", Path(folder.name), lambda _: None)
        for start in range(0, len(vectors), _BATCH):
            some = vectors[start : start + _BATCH]
            entries = [
                Entry(f"{start + place}", f"text {start + place}", "en", None, b"{}", OWN)
                for place in range(len(some))
            ]
            collection.upsert(entries, some)
        collection.rebuild()
        (space,) = collection.spaces()
        indexes = collection._indexes
        index = indexes.of(space)
        chosen = index.effort
        efforts = _ONE if chosen is None else _efforts(chosen)
        # Nobody but a benchmark tries another effort.
        kept = {
            effort: replace(indexes._kept[space], index=index.tried(effort) if chosen else index)
            for effort in efforts
        }

        def search(queries: Floats, k: int, effort: Effort) -> list[Named]:
            indexes._kept[space] = kept[effort]
            return collection.search_ids(Query(len(queries), k), {space: queries})

        def keys(found: list[Named]) -> Keys:
            return np.array([each.ids for each in found]).astype(np.int64)

        what = (
            f"a collection of documents with an index as before; audited {index.report.recall:.3f}"
        )
        return {"ours, collection": Searcher(search, efforts, what, keys)}

    return build


def _bare(name: str, spec: str, efforts: Sequence[Effort]) -> Build:
    """FAISS by its own factory and parameters; the scores of codes are what it returns."""

    def build(vectors: Floats) -> Mapping[str, Searcher]:
        dimension = vectors.shape[1]
        full = spec.format(lists=lists_for(len(vectors)), codes=dimension // 4)
        index = faiss.index_factory(dimension, full, faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(1)
        index.train(vectors[: 65_536 + 40 * lists_for(len(vectors))])
        index.add(vectors)

        def search(queries: Floats, k: int, effort: Effort) -> Keys:
            found: Keys = index.search(queries, k, params=_parameters(full, effort))[1]
            return found

        def as_it_comes(queries: Floats, k: int, effort: Effort) -> Keys:
            ours = faiss.cvar.distance_compute_blas_threshold
            faiss.cvar.distance_compute_blas_threshold = SHIPPED_THRESHOLD
            try:
                return search(queries, k, effort)
            finally:
                faiss.cvar.distance_compute_blas_threshold = ours

        return {
            name: Searcher(search, efforts, full),
            f"{name}, as it comes": Searcher(as_it_comes, efforts, full),
        }

    return build


def _parameters(spec: str, effort: Effort) -> object:
    if spec.startswith("HNSW"):
        return faiss.SearchParametersHNSW(efSearch=effort.reach)
    if spec == "Flat":
        return None
    base = faiss.SearchParametersIVF(nprobe=effort.reach)
    if "Refine" not in spec and "RFlat" not in spec:
        return base
    return faiss.IndexRefineSearchParameters(k_factor=float(effort.width), base_index_params=base)


def _hnswlib(vectors: Floats) -> Mapping[str, Searcher]:
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)

    def search(queries: Floats, k: int, effort: Effort) -> Keys:
        index.set_ef(max(effort.reach, k))
        return np.asarray(index.knn_query(queries, k, num_threads=1)[0], np.int64)

    return {
        "hnswlib": Searcher(search, _GRAPH, f"M {M}, ef_construction {EF_CONSTRUCTION}, float32")
    }


def _usearch(vectors: Floats) -> Mapping[str, Searcher]:
    # Its stubs say that what its manual tells one to set is read-only.
    index: Any = UsearchIndex(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=M,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(np.arange(len(vectors)), vectors, threads=1)

    def search(queries: Floats, k: int, effort: Effort) -> Keys:
        index.expansion_search = max(effort.reach, k)
        found = index.search(queries, k, threads=1).keys
        return np.asarray(found, np.int64).reshape(len(queries), k)

    return {
        "usearch": Searcher(search, _GRAPH, f"M {M}, ef_construction {EF_CONSTRUCTION}, float32")
    }


def _efforts(chosen: Effort) -> Sequence[Effort]:
    """Those that bare FAISS is tried with: of lists, which have a width, or of a graph."""
    return _LISTS if chosen.width > 1 else _GRAPH


SIDES: Mapping[str, Build] = {
    "ours": _collection(IndexWish()),
    "index": _ours(IndexWish()),
    # As ours is made, by codes or by the vectors themselves at the end.
    "ivf": _bare("FAISS IVF-PQ refined", "IVF{lists},PQ{codes}x4fs,Refine(SQ8)", _LISTS),
    "ivf-flat": _bare("FAISS IVF-PQ, vectors", "IVF{lists},PQ{codes}x4fs,RFlat", _LISTS),
    "hnsw": _bare("FAISS HNSW SQ8", "HNSW32_SQ8", _GRAPH),
    "flat": _bare("FAISS flat", "Flat", _ONE),
    "hnswlib": _hnswlib,
    "usearch": _usearch,
}
