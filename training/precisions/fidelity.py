"""How near vectors of one precision are to those of float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.precision import Fidelity
from training.precisions.running import Runner, Vectors
from training.precisions.texts import Text, batches
from training.run import cpu_name

_NEIGHBOURS = 10
_ROWS = 16
# Texts that are run alone and once more in a batch.
_ALONE = 200


def measure(
    runner: Runner, reference: Vectors, texts: Sequence[Text], pad_token_id: int, source: str
) -> Fidelity:
    """The fidelity of `runner` on `texts`, whose float32 vectors, (texts, dim), are `reference`.

    Neighbours are sought among the texts of the same adapter.
    """
    vectors = embed(runner, texts, pad_token_id)
    cosines = (vectors * reference).sum(axis=1)
    rng = np.random.default_rng(0)
    some = [texts[place] for place in rng.permutation(len(texts))[:_ALONE]]
    # Drawn at random, and so with companions of every length and adapter.
    together = _in_order(runner, some, _ROWS, pad_token_id)
    alone = _in_order(runner, some, 1, pad_token_id)
    rows = np.array([text.adapter_row for text in texts])
    return Fidelity(
        mean_cosine=float(cosines.mean()),
        worst_cosine=float(cosines.min()),
        top10_overlap=overlap(vectors, reference, rows),
        batch_drift=max(0.0, float(1 - (together * alone).sum(axis=1).min())),
        largest_change=float(np.abs(together - alone).max()),
        texts=len(texts),
        source=source,
        runtime=runner.runtime,
        processor=cpu_name(),
    )


def embed(runner: Runner, texts: Sequence[Text], pad_token_id: int) -> Vectors:
    """Unit vectors of the texts, (texts, dim), computed in batches of like length."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place].ids))
    vectors = _in_order(runner, [texts[place] for place in order], _ROWS, pad_token_id)
    result = np.empty_like(vectors)
    result[order] = vectors
    return result


def overlap(
    vectors: Vectors, reference: Vectors, groups: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> float:
    """Of each row's ten nearest others in its group, the share that is among the reference's ten;
    the mean over rows. A group of fewer than two has none."""
    shares = []
    for group in np.unique(groups):
        places = np.flatnonzero(groups == group)
        count = min(_NEIGHBOURS, len(places) - 1)
        if count < 1:
            continue
        one, other = (_nearest(each[places], count) for each in (vectors, reference))
        shares += [len(np.intersect1d(a, b)) / count for a, b in zip(one, other, strict=True)]
    return float(np.mean(shares))


def _nearest(vectors: Vectors, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]


def _in_order(runner: Runner, texts: Sequence[Text], rows: int, pad_token_id: int) -> Vectors:
    return np.concatenate([runner.run(feed) for feed in batches(texts, rows, pad_token_id)])
