"""The vector index of a collection: derived from the store, never the truth, built anew in doubt.

    index = Index.build(keys, vectors, IndexWish(), fetch)   # kind chosen by measurement, audited
    index.add(keys, vectors)                                 # replaces keys that are there
    index.remove(keys)                                       # keys that are not are no error
    hits = index.search(queries, k, allowed=keys)            # exact scores, best first
    index.save(path, sequence)                               # whole or not at all, with a checksum
    index, sequence = Index.load(path, fetch)                # IndexDamaged: set aside, build anew

Vectors are rows of length 1 (or all zero), float32; scores are their cosines. Keys are int64, not
negative. `fetch(keys)` gives the stored vectors of keys, in that order, (n, dim) float32, and a row
of NaN for a key that the store no longer has, which is then left out of the hits. It is called in
the thread that searches or absorbs, from several threads at a time, and under no lock, for vectors
that are not at hand: others are hits until `remove` or `add` says that they are gone.

**Order.** Write to the store first, then to the index. A search sees every write to the index that
had returned before it began, and each write whole or not at all.

**Threads.** Any number may search at any time, beside every other call. Writers (`add`, `remove`)
wait for each other, and never long. Nothing here starts a thread.

**Growth.** What is new is searched exactly beside the built structure. `index.due` tells what the
collection should have done in a thread of its own: `"absorb"`: call `index.absorb()`, which takes
the new into the structure beside searches and writes; `"rebuild"`: the collection has outgrown the
structure, or much of it is removed: build another from the store, bring it up to date with what was
written meanwhile, and put it in this one's place; None: nothing. Where there is a thread for it,
`index.gather()` after a load has the vectors at hand before searches meet them.
"""

from service.retrieval.index.index import Index
from service.retrieval.index.values import (
    Fetch,
    Floats,
    Hits,
    IndexReport,
    IndexWish,
    Keys,
    Kind,
    Upkeep,
)

__all__ = ["Fetch", "Floats", "Hits", "Index", "IndexReport", "IndexWish", "Keys", "Kind", "Upkeep"]
