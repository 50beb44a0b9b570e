"""How fast vectors go into a collection's index that is searched at the same time."""

from __future__ import annotations

import time

import numpy as np

from service.retrieval.index import Floats, Index, IndexWish

_BATCH = 1000


def ingest_rate(base: Floats) -> str:
    """A line that says it: the last tenth of `base` is added to an index of the rest.

    Done as a collection does it: batches of a thousand, and what is due between them. The rest is
    indexed by inverted lists, so that taking in is part of it.
    """
    start = len(base) - len(base) // 10
    wish = IndexWish("ivf", recall=0.5, parameters={"nprobe": 16, "width": 8})
    index = Index.build(np.arange(start), base[:start], wish, base.__getitem__)
    writing = absorbing = 0.0
    for first in range(start, len(base), _BATCH):
        keys = np.arange(first, min(first + _BATCH, len(base)))
        began = time.process_time()
        index.add(keys, base[keys])
        writing += time.process_time() - began
        began = time.process_time()
        if index.due == "absorb":
            index.absorb()
        absorbing += time.process_time() - began
    count = len(base) - start
    return (
        f"ours, {count} vectors added to {start} in batches of {_BATCH}: "
        f"{count / writing:,.0f} a second until a search finds them, "
        f"{count / (writing + absorbing):,.0f} with taking them into the structure"
    )
