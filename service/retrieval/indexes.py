"""The indexes of one collection, one for each space, derived from its store and kept up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import IndexDamaged, RecallTooLow, StorageFull, StorageUnavailable
from service.retrieval.database import storage_errors
from service.retrieval.index import Index, IndexWish
from service.retrieval.store import Store, View
from service.retrieval.values import Cancel, Space

logger = logging.getLogger(__name__)

# What `applied` is while changes are taken over.
_CHANGING = -1

# A space with more vectors than this, whose index is lost, is searched exactly until another is
# built, which may take minutes.
_QUICK_VECTORS = 50_000

# An index is saved once so many changes, or this share of its size, came since it was.
_SAVE_CHANGES = 5_000
_SAVE_SHARE = 0.1

# Removals that stay known after every index was saved without them: other processes that hold the
# collection open, and lag behind by more, build their indexes anew.
_KNOWN_REMOVALS = 100_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """An index, the sequence number that it holds, and the one that is saved."""

    index: Index
    at: int
    saved: int = 0
    provisional: bool = False


class Indexes:
    """One index for each space. Safe to call from several threads."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._kept: dict[int, _Kept] = {}
        self._spaces: Mapping[int, Space] = {}
        self._changing = threading.Lock()
        self._tending = threading.Lock()
        self._applied = 0
        self._loaded = False

    @property
    def applied(self) -> int:
        """The sequence number that all indexes hold; none that exists while they change."""
        return self._applied

    @property
    def spaces(self) -> Mapping[int, Space]:
        """The spaces that documents were in at that number."""
        return self._spaces

    def of(self, space: int) -> Index:
        """The index of a space."""
        return self._kept[space].index

    def recalls(self) -> list[float]:
        """What the audit of each index found, when it was built."""
        return [kept.index.report.recall for kept in list(self._kept.values())]

    def catch_up(self, view: View) -> None:
        """Take over what the store has and the indexes do not, up to the moment of `view`."""
        sequence = view.sequence
        if self._loaded and self._applied == sequence:
            return
        with self._changing:
            if self._loaded and self._applied >= sequence:
                return
            self._applied = _CHANGING
            if any(kept.at > sequence for kept in self._kept.values()):
                return  # `view` is of a moment that has gone; another will do
            spaces = view.spaces()
            for number in spaces.keys() | self._kept.keys():
                self._catch_up(number, view, sequence)
            self._spaces = spaces
            self._loaded = True
            self._applied = sequence

    def rebuild(self, wish: IndexWish, only: int | None = None) -> None:
        """Build the indexes anew from the store beside searches and writes, then put them in place.

        Raises RecallTooLow where one would find less than `wish` asks for; then those that stand
        stay.
        """
        with self._tending:
            built = {}
            for number in self._kept if only is None else [only]:
                with self._store.reading() as view:
                    sequence = view.sequence
                    keys, vectors = view.added(number, 0)
                index = Index.build(keys, vectors, wish, self._store.fetch, folder=self._folder)
                built[number] = _Kept(index, sequence)
            with self._changing:
                self._kept.update(built)
                self._applied = _CHANGING
            with self._store.reading() as view:
                self.catch_up(view)
            self._save()

    def tend(self) -> None:
        """Do what grows with the indexes, in a thread of its own: absorb, build anew, save."""
        for number, kept in list(self._kept.items()):
            due = "rebuild" if kept.provisional else kept.index.due
            try:
                if due == "absorb":
                    kept.index.absorb()
                elif due == "rebuild":
                    self.rebuild(self._store.settings.index, number)
            except RecallTooLow as error:
                logger.warning("index_kept space=%d reason=%r", number, error.message)
                self._change(number, provisional=False)
        with self._tending:
            if any(_wants_saving(kept) for kept in self._kept.values()):
                self._save()

    def gather(self, cancel: Cancel) -> None:
        """Have the vectors of every index at hand, where there is memory for them."""
        for kept in list(self._kept.values()):
            kept.index.gather(cancel.check)

    def save(self) -> None:
        """Save every index that changed, so that the next start has less to do."""
        with self._tending:
            self._save()

    def _save(self) -> None:
        try:
            for number, kept in list(self._kept.items()):
                if kept.at > kept.saved:
                    with storage_errors(self._folder / "index"):
                        kept.index.save(self._path(number), kept.at)
                    self._change(number, saved=kept.at)
            oldest = min((kept.saved for kept in self._kept.values()), default=0)
            if oldest > _KNOWN_REMOVALS:
                self._store.forget(oldest - _KNOWN_REMOVALS)
        except (StorageFull, StorageUnavailable) as error:
            # The store has everything: the next start takes longer, and nothing is lost.
            logger.warning("index_not_saved reason=%r", error.message)

    def _change(self, number: int, **changes: int | bool) -> None:
        with self._changing:
            self._kept[number] = replace(self._kept[number], **changes)  # type: ignore[arg-type]

    def _catch_up(self, number: int, view: View, sequence: int) -> None:
        kept = self._kept.pop(number, None)
        if kept is None:
            kept = self._load(number, view, sequence)
        if kept is None or kept.at < view.forgotten:
            kept = self._build(number, view, sequence)
        elif kept.at < sequence:
            removed = view.removed(number, kept.at)
            keys, vectors = view.added(number, kept.at)
            if len(removed):
                kept.index.remove(removed)
            if len(keys):
                kept.index.add(keys, vectors)
            kept = replace(kept, at=sequence)
        self._kept[number] = kept

    def _load(self, number: int, view: View, sequence: int) -> _Kept | None:
        """The index that was saved, where there is one and it is this store's."""
        path = self._path(number)
        if not path.exists():
            return None
        try:
            index, at = Index.load(path, self._store.fetch)
            if at > sequence and at <= self._newest():
                return None  # another process was quicker than `view`
            _check(index, at, view, number, sequence)
        except (IndexDamaged, OSError) as error:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.rename(aside)
            logger.warning("index_damaged set_aside=%s reason=%r", aside.name, str(error))
            return None
        return _Kept(index, at, saved=at)

    def _build(self, number: int, view: View, sequence: int) -> _Kept:
        keys, vectors = view.added(number, 0)
        wish = self._store.settings.index
        flat = IndexWish(kind="flat")
        if len(keys) > _QUICK_VECTORS and wish.kind != "flat":
            index = Index.build(keys, vectors, flat, self._store.fetch)
            return _Kept(index, sequence, provisional=True)
        try:
            index = Index.build(keys, vectors, wish, self._store.fetch, folder=self._folder)
        except RecallTooLow as error:
            logger.warning("index_flat space=%d reason=%r", number, error.message)
            index = Index.build(keys, vectors, flat, self._store.fetch)
        return _Kept(index, sequence)

    def _newest(self) -> int:
        with self._store.reading() as view:
            return view.sequence

    def _path(self, number: int) -> Path:
        return self._folder / f"space-{number}.{self._store.mark}.index"


def _check(index: Index, at: int, view: View, number: int, sequence: int) -> None:
    """Raise IndexDamaged where a whole file does not belong to the store as it is."""
    if index.dimension != view.dimensions:
        raise IndexDamaged(f"{index.dimension} dimensions, and the collection {view.dimensions}")
    if at > sequence:
        raise IndexDamaged(f"it is of change {at}, and the store has {sequence} changes")
    if at >= view.forgotten:
        expected = view.size_at(number, at)
        if len(index) != expected:
            raise IndexDamaged(f"{len(index)} vectors, and the store had {expected} at change {at}")


def _wants_saving(kept: _Kept) -> bool:
    return kept.at - kept.saved > max(_SAVE_CHANGES, _SAVE_SHARE * len(kept.index))
