"""The nearest texts of the other side, exactly, block by block through FAISS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.alignment.mining.state import whole_file
from service.alignment.mining.vectors import Vectors
from service.alignment.scoring import Floats, Indices, Neighbours
from service.faiss_library import faiss


def nearest(
    own: Vectors, other: Vectors, k: int, folder: Path, progress: Callable[[int, int], None]
) -> Neighbours:
    """The k nearest of `other` for each text of `own`, nearest first, or all where they are fewer.

    Every cosine is computed; memory is that of two blocks and the result. Of equal cosines the
    first text counts as nearer. `folder` keeps the neighbours of each block of `own`; those that
    it lacks are searched. `progress` gets texts of `own`.
    """
    k = min(k, other.texts)
    folder.mkdir(exist_ok=True)
    cosines = np.empty((own.texts, k), np.float32)
    indices = np.empty((own.texts, k), np.int64)
    for number in range(own.blocks):
        path = folder / f"{number:06d}.npz"
        if not path.exists():
            found = _search(own.block(number), other, k)
            with whole_file(path) as file:
                np.savez(file, cosines=found.cosines, indices=found.indices)
        with np.load(path) as stored:
            start = number * own.block_texts
            rows = slice(start, start + len(stored["cosines"]))
            cosines[rows], indices[rows] = stored["cosines"], stored["indices"]
        progress(rows.stop, own.texts)
    return Neighbours(cosines, indices)


def _search(queries: Floats, other: Vectors, k: int) -> Neighbours:
    best = Neighbours(
        np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    )
    for number in range(other.blocks):
        block = other.block(number)
        cosines, places = faiss.knn(
            queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT
        )
        np.clip(cosines, -1, 1, out=cosines)
        best = _merged(best, cosines, places + number * other.block_texts, k)
    return best


def _merged(best: Neighbours, cosines: Floats, indices: Indices, k: int) -> Neighbours:
    all_cosines = np.concatenate([best.cosines, cosines], axis=1)
    all_indices = np.concatenate([best.indices, indices], axis=1)
    order = np.lexsort((all_indices, -all_cosines), axis=1)[:, :k]
    return Neighbours(
        np.take_along_axis(all_cosines, order, axis=1),
        np.take_along_axis(all_indices, order, axis=1),
    )
