"""Vectors of rows that were seen before, kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict

from service.encoding.session import Vectors
from service.encoding.tokenizer import Row

# What an entry takes besides its ids and its vector: objects, dictionary slots. Measured roughly,
# rounded up.
ENTRY_BYTES = 512


class RepeatCache:
    """The vectors of the rows used last, in at most `limit_bytes`; 0 keeps none."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._vectors: OrderedDict[Row, Vectors] = OrderedDict()
        self.bytes = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, row: Row) -> Vectors | None:
        """The vector of an equal row, (dimension,), or None."""
        vector = self._vectors.get(row)
        if vector is not None:
            self._vectors.move_to_end(row)
            self.hits += 1
        return vector

    def put(self, row: Row, vector: Vectors) -> None:
        """Keep a copy of `vector`; what was unused the longest goes where the bound asks for it."""
        size = _size(row, vector)
        if size > self._limit_bytes or row in self._vectors:
            return
        # A copy, because a view would keep the whole batch alive.
        self._vectors[row] = vector.copy()
        self.bytes += size
        while self.bytes > self._limit_bytes:
            self.bytes -= _size(*self._vectors.popitem(last=False))


def _size(row: Row, vector: Vectors) -> int:
    return ENTRY_BYTES + len(row.ids) + vector.nbytes
