"""A collection against a plain dict with brute force, through whatever order of events."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from service.retrieval.collection import Collection
from service.retrieval.filters import EVERYTHING, parse_filter
from service.retrieval.index import IndexWish
from service.retrieval.searching import Query
from service.retrieval.values import CollectionSettings, Floats, Space
from tests.service.retrieval.made import DIMENSIONS, OTHER, SPACE, entry, unit

_ids = st.sampled_from([f"d{n}" for n in range(12)])
_languages = st.sampled_from(["en", "de", "zh"])


@dataclass(frozen=True)
class Held:
    """What the model knows of a document."""

    text: str
    language: str
    year: int
    space: Space
    vector: Floats


class CollectionMachine(RuleBasedStateMachine):
    """Upserts, deletes, filters, saves, restarts, crashes and damaged files in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "docs"
        self.folder.mkdir()
        self.model: dict[str, Held] = {}
        self.drawn = 0

    @initialize()
    def create(self) -> None:
        Collection.create(self.folder, CollectionSettings(DIMENSIONS))
        self.open()

    def open(self) -> None:
        self.collection = Collection.open("docs", self.folder, lambda _: None)

    @rule(
        documents=st.dictionaries(
            _ids,
            st.tuples(_languages, st.integers(1, 4), st.sampled_from([SPACE, OTHER])),
            min_size=1,
            max_size=6,
        )
    )
    def upsert(self, documents: dict[str, tuple[str, int, Space]]) -> None:
        self.drawn += 1
        rows = unit(len(documents), seed=self.drawn)
        fresh = {
            id_: Held(f"{id_} version {self.drawn}", language, year, space, row)
            for (id_, (language, year, space)), row in zip(documents.items(), rows, strict=True)
        }
        written = self.collection.upsert(
            [
                entry(id_, held.text, language=held.language, space=held.space, year=held.year)
                for id_, held in fresh.items()
            ],
            rows,
        )
        assert written.replaced == len(fresh.keys() & self.model.keys())
        assert written.inserted == len(fresh.keys() - self.model.keys())
        self.model |= fresh

    @rule(ids=st.lists(_ids, max_size=5))
    def delete_ids(self, ids: list[str]) -> None:
        assert self.collection.delete_ids(ids) == len(set(ids) & self.model.keys())
        self.model = {id_: held for id_, held in self.model.items() if id_ not in ids}

    @rule(year=st.integers(1, 4))
    def delete_by_filter(self, year: int) -> None:
        kept = {id_: held for id_, held in self.model.items() if held.year < year}
        condition = parse_filter({"field": "metadata.year", "range": {"gte": year}})
        assert self.collection.delete_where(condition) == len(self.model) - len(kept)
        self.model = kept

    @rule(
        seed=st.integers(0, 9),
        top_k=st.integers(1, 15),
        language=st.none() | _languages,
        year=st.none() | st.integers(1, 4),
        balance=st.booleans(),
    )
    def search(
        self, seed: int, top_k: int, language: str | None, year: int | None, balance: bool
    ) -> None:
        queries = unit(2, seed=10_000 + seed)
        conditions: list[dict[str, Any]] = []
        if language is not None:
            conditions.append({"field": "language", "eq": language})
        if year is not None:
            conditions.append({"not": {"field": "metadata.year", "eq": year}})
        condition = parse_filter({"and": conditions}) if conditions else EVERYTHING
        query = Query(queries=2, top_k=top_k, condition=condition, balance=balance)
        spaces = dict.fromkeys(self.collection.spaces(), queries)
        found = self.collection.search(query, spaces)
        named = self.collection.search_ids(query, spaces)
        assert [each.ids for each in named] == [[hit.document.id for hit in hits] for hits in found]
        assert [each.scores for each in named] == [[hit.score for hit in hits] for hits in found]
        fitting = {
            id_: held
            for id_, held in self.model.items()
            if language in (None, held.language) and held.year != year
        }
        for row, hits in zip(queries, found, strict=True):
            scores = {id_: float(held.vector @ row) for id_, held in fitting.items()}
            expected = _balanced(scores, fitting) if balance else scores
            ranked = sorted(expected, key=expected.__getitem__, reverse=True)[:top_k]
            ranked.sort(key=scores.__getitem__, reverse=True)
            assert [hit.document.id for hit in hits] == ranked
            for hit in hits:
                assert hit.document.text == self.model[hit.document.id].text
                assert abs(hit.score - scores[hit.document.id]) < 1e-5

    @rule()
    def restart(self) -> None:
        self.collection.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """Whatever was not saved is lost, as in a process that is killed."""
        self.collection.abandon()
        self.open()

    @rule()
    def save_and_crash(self) -> None:
        self.collection._indexes.save()
        self.crash()

    @rule()
    def rebuild(self) -> None:
        self.collection.rebuild(IndexWish())

    @precondition(lambda self: any(self.folder.glob("*.index")))
    @rule(data=st.data())
    def damage_a_file(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.folder.glob("*.index"))))
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        self.collection.abandon()
        if data.draw(st.booleans()):
            content[place] ^= 0x5A
            path.write_bytes(content)
        else:
            path.write_bytes(content[:place])
        for each in self.folder.glob("*.damaged-*"):
            each.unlink()
        self.open()
        # An index of a space without documents is not read before it gets some.
        number = int(path.name.split(".")[0].removeprefix("space-"))
        assert any(self.folder.glob("*.damaged-*")) == (number in self.collection.spaces())

    @invariant()
    def holds_the_model(self) -> None:
        if not hasattr(self, "collection"):
            return
        documents, rows = self.collection.page(EVERYTHING, 0, 100)
        assert {each.id: each.text for each in documents} == {
            id_: held.text for id_, held in self.model.items()
        }
        assert self.collection.count() == len(self.model)
        for each, row in zip(documents, rows, strict=True):
            np.testing.assert_array_equal(row, self.model[each.id].vector)

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.root)


def _balanced(scores: dict[str, float], held: dict[str, Held]) -> dict[str, float]:
    """Ranks by turn: the best of each language before the second of any."""
    by_language: dict[str, list[str]] = {}
    for id_ in sorted(scores, key=scores.__getitem__, reverse=True):
        by_language.setdefault(held[id_].language, []).append(id_)
    return {
        id_: scores[id_] - 10 * turn for ids in by_language.values() for turn, id_ in enumerate(ids)
    }


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
