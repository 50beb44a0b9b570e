"""A collection: documents that are found by meaning, in any language, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from service.errors import Overloaded, StorageUnavailable
from service.retrieval.database import storage_errors
from service.retrieval.filters import EVERYTHING, Condition
from service.retrieval.index import IndexReport, IndexWish
from service.retrieval.indexes import Indexes
from service.retrieval.searching import Query, Search
from service.retrieval.store import Store
from service.retrieval.values import (
    Cancel,
    CollectionSettings,
    Document,
    Entry,
    Floats,
    Found,
    Named,
    Space,
    Written,
)

_Results = TypeVar("_Results")

DATABASE_NAME = "documents.sqlite"

# A search that meets writes begins anew so often; then it holds writers off while it runs.
_FREE_ATTEMPTS = 3
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """What a collection holds of one space."""

    space: Space
    documents: int
    index: IndexReport


@dataclass(frozen=True, slots=True)
class Report:
    """What a collection holds."""

    documents: int
    sequence: int
    bytes: int
    languages: Mapping[str, int]
    granularities: Mapping[str, int]
    spaces: Sequence[SpaceReport]


@dataclass(frozen=True, slots=True)
class Sample:
    """Some documents of one space, with their vectors (n, dimensions)."""

    space: Space
    documents: list[Document]
    vectors: Floats


class Collection:
    """One folder's documents. Safe to call from several threads.

    What a write has returned is on disk, and every later read sees it. A read sees each write whole
    or not at all.
    """

    def __init__(
        self, name: str, folder: Path, store: Store, tend: Callable[[Indexes], None]
    ) -> None:
        self.name = name
        self.folder = folder
        self._store = store
        self._indexes = Indexes(folder, store)
        self._tend = tend

    @classmethod
    def create(cls, folder: Path, settings: CollectionSettings) -> None:
        """Write an empty collection into a folder that is there and empty."""
        Store.create(folder / DATABASE_NAME, settings)

    @classmethod
    def open(
        cls,
        name: str,
        folder: Path,
        tend: Callable[[Indexes], None],
        opened: Callable[[Indexes], None] = lambda indexes: None,
    ) -> Collection:
        """The collection in `folder`, its indexes loaded and brought up to date.

        `tend` is given the indexes after each write, to let them do in a thread of its own what is
        due, and `opened` now, for what an earlier process left undone. A saved index that is
        damaged is set aside and built anew.
        """
        if not (folder / DATABASE_NAME).exists():
            raise StorageUnavailable(f"{folder} holds no {DATABASE_NAME}; restore it or delete it")
        collection = cls(name, folder, Store.open(folder / DATABASE_NAME), tend)
        collection._catch_up()
        opened(collection._indexes)
        return collection

    @property
    def settings(self) -> CollectionSettings:
        """What it was made with, and `rebuild` changed."""
        return self._store.settings

    @property
    def created_at(self) -> str:
        """When, in UTC, ISO 8601."""
        return self._store.created_at

    def close(self) -> None:
        """Save the indexes and give the files back."""
        self._indexes.save()
        self._store.close()

    def abandon(self) -> None:
        """Give the files back, of a collection that is deleted."""
        self._store.close()

    def upsert(
        self, entries: Sequence[Entry], vectors: Floats, instead_of: Mapping[str, int] | None = None
    ) -> Written:
        """Write documents and their unit vectors (n, dimensions), all or none; ids must differ.

        With `instead_of`, keys by id: only those that still stand in the place of these keys.
        """
        written = self._store.upsert(entries, vectors, instead_of)
        self._catch_up()
        self._tend(self._indexes)
        return written

    def delete_ids(self, ids: Sequence[str]) -> int:
        """Delete documents by id; how many there were."""
        return self._deleted(self._store.delete_ids(ids))

    def delete_where(self, condition: Condition) -> int:
        """Delete documents by a filter; how many there were."""
        return self._deleted(self._store.delete_where(condition))

    def get(self, id_: str) -> tuple[Document, Floats] | None:
        """The document with an id, and its vector (dimensions,)."""
        with self._store.reading() as view:
            document = view.by_id(id_)
            if document is None:
                return None
            return document, view.vectors(np.array([document.key], np.int64))[0]

    def page(
        self, condition: Condition, after: int, limit: int, cancel: Cancel | None = None
    ) -> tuple[list[Document], Floats]:
        """The next documents after a key, in the order in which they were written, with vectors."""
        with self._store.reading(cancel) as view:
            documents = view.page(condition, after, limit)
            keys = np.array([each.key for each in documents], np.int64)
            return documents, view.vectors(keys)

    def sample(self, limit: int, cancel: Cancel | None = None) -> Sample | None:
        """At most `limit` documents of the space that has most, each language by its share.

        The same ones until the collection changes. None where it is empty.
        """
        with self._store.reading(cancel) as view:
            by_space = {
                space: np.concatenate(list(languages.values()))
                for space, languages in view.matching(EVERYTHING).items()
            }
            if not by_space:
                return None
            space, keys = max(by_space.items(), key=lambda item: len(item[1]))
            # Evenly spaced over keys that are sorted by language.
            taken = np.linspace(0, len(keys) - 1, min(limit, len(keys))).round().astype(np.int64)
            documents = view.by_keys(keys[taken].tolist())
            return Sample(
                view.spaces()[space],
                [documents[key] for key in keys[taken].tolist()],
                view.vectors(keys[taken]),
            )

    def count(self, condition: Condition = EVERYTHING, cancel: Cancel | None = None) -> int:
        """How many documents meet `condition`."""
        with self._store.reading(cancel) as view:
            return view.count(condition)

    def spaces(self, *, gone: bool = False) -> dict[int, Space]:
        """The spaces that documents are in, by number; with `gone`, those too that they were in."""
        with self._store.reading() as view:
            return view.all_spaces() if gone else view.spaces()

    def search(
        self, query: Query, vectors: Mapping[int, Floats], cancel: Cancel | None = None
    ) -> list[list[Found]]:
        """What is nearest to each query, best first.

        `vectors` (queries, dimensions) are those of the queries for each space. Raises
        NotComparable where documents that may be found are in another space.
        """
        return self._searched(lambda search: search.run(query, vectors), cancel or Cancel())

    def search_ids(
        self, query: Query, vectors: Mapping[int, Floats], cancel: Cancel | None = None
    ) -> list[Named]:
        """The same, but only the ids and scores: several times faster, as no document is read."""
        return self._searched(lambda search: search.named(query, vectors), cancel or Cancel())

    def _searched(self, run: Callable[[Search], _Results | None], cancel: Cancel) -> _Results:
        """What `run` finds while nothing is written; None is nothing, and tried again."""
        for attempt in range(_ATTEMPTS):
            hold = attempt >= _FREE_ATTEMPTS
            with self._store.holding() if hold else self._store.reading(cancel) as view:
                self._indexes.catch_up(view)
                sequence = view.sequence
                if self._indexes.applied != sequence:
                    continue
                found = run(Search(view, self._indexes, cancel))
                if found is not None and self._indexes.applied == sequence:
                    return found
        raise Overloaded("the collection is being rebuilt; try again", retry_after_s=1)

    def rebuild(self, wish: IndexWish | None = None) -> None:
        """Build the indexes anew, by another wish from now on where one is given.

        Raises RecallTooLow where one would find less than is asked; then all stays as it is.
        """
        self._indexes.rebuild(wish or self.settings.index)
        if wish is not None:
            self._store.change_settings(replace(self.settings, index=wish))

    def report(self) -> Report:
        """What the collection holds now."""
        with self._store.reading() as view:
            self._indexes.catch_up(view)
            sequence, facets, spaces = view.sequence, view.facets(), view.spaces()
        return Report(
            documents=sum(count for *_, count in facets),
            sequence=sequence,
            bytes=self._bytes(),
            languages=_counts((language, count) for _, language, _, count in facets),
            granularities=_counts((granularity or "none", n) for *_, granularity, n in facets),
            spaces=[
                SpaceReport(
                    space,
                    sum(count for each, *_, count in facets if each == number),
                    self._indexes.of(number).report,
                )
                for number, space in spaces.items()
            ],
        )

    def recalls(self) -> list[float]:
        """What the audit of each index found, when it was built."""
        return self._indexes.recalls()

    def _bytes(self) -> int:
        total = 0
        with storage_errors(self.folder):
            for file in self.folder.iterdir():
                with suppress(FileNotFoundError):  # of a save that is going on
                    total += file.stat().st_size
        return total

    def _deleted(self, count: int) -> int:
        if count:
            self._catch_up()
            self._tend(self._indexes)
        return count

    def _catch_up(self) -> None:
        with self._store.reading() as view:
            self._indexes.catch_up(view)


def _counts(pairs: Iterator[tuple[str, Any]]) -> dict[str, int]:
    """Sums by name, the largest first."""
    sums: dict[str, int] = {}
    for name, count in pairs:
        sums[name] = sums.get(name, 0) + count
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))
