"""A process that writes a collection is killed at random moments; what it acknowledged is there.

    python -m benchmarks.crash [--seeds 100] [--state FOLDER]

For each seed a process writes, deletes and saves as that seed's dice say, tells each change once it
is acknowledged, and is killed with SIGKILL after some of them or at some moment, be it while it
opens the collection. Then the collection is opened and must hold, exactly, what was acknowledged,
or that and the whole of the one change that was under way: every document by its id and by search
with its own text, none that was deleted, none in parts. The next seed goes on in the same folder.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import numpy as np

from service.retrieval.collection import Collection
from service.retrieval.filters import EVERYTHING, parse_filter
from service.retrieval.folder import Collections
from service.retrieval.searching import Query
from service.retrieval.values import CollectionSettings, Entry, Floats, Space

NAME = "crash"
_DIMENSIONS = 24
_IDS = 150
_BUCKETS = 12
_SPACES = (Space("bundle", "1.0.0", "sentence"), Space("bundle", "1.0.0", "phrase"))
# Share of the processes that are killed at some moment, most often before they have acknowledged
# anything.
_BLIND = 0.2

State = dict[str, str]  # id → text


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a collection: texts by id, ids to delete, or a bucket of them."""

    kind: Literal["upsert", "delete", "delete_bucket", "save"]
    texts: State = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    bucket: int = 0

    def after(self, state: State) -> State:
        """What a collection holds after it."""
        if self.kind == "upsert":
            return {**state, **self.texts}
        gone = set(self.ids)
        if self.kind == "delete_bucket":
            gone = {id_ for id_ in state if _bucket(id_) == self.bucket}
        return {id_: text for id_, text in state.items() if id_ not in gone}

    def make(self, collection: Collection) -> None:
        """Make it."""
        if self.kind == "upsert":
            entries = [_entry(id_, text) for id_, text in self.texts.items()]
            collection.upsert(entries, vectors(list(self.texts.values())))
        elif self.kind == "delete":
            collection.delete_ids(self.ids)
        elif self.kind == "delete_bucket":
            filter_ = {"field": "metadata.bucket", "eq": self.bucket}
            collection.delete_where(parse_filter(filter_))
        else:
            collection.rebuild()


def changes(seed: int) -> Iterator[Change]:
    """The changes of a seed, always the same."""
    rng = np.random.default_rng(seed)
    for number in itertools.count():
        dice = rng.random()
        some = tuple(f"d{n}" for n in rng.choice(_IDS, rng.integers(1, 40), replace=False))
        if dice < 0.6:
            texts = {id_: f"text of {id_} by {seed}.{number}" for id_ in some}
            yield Change("upsert", texts=texts)
        elif dice < 0.8:
            yield Change("delete", ids=some[:10])
        elif dice < 0.9:
            yield Change("delete_bucket", bucket=int(rng.integers(_BUCKETS)))
        else:
            yield Change("save")


def vectors(texts: list[str]) -> Floats:
    """Unit vectors that stand for the texts: (texts, dimensions)."""
    rows = np.array(
        [
            np.random.default_rng(zlib.crc32(text.encode())).normal(size=_DIMENSIONS)
            for text in texts
        ],
        np.float32,
    ).reshape(-1, _DIMENSIONS)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _bucket(id_: str) -> int:
    return int(id_[1:]) % _BUCKETS


def _space(id_: str) -> Space:
    return _SPACES[int(id_[1:]) % len(_SPACES)]


def _entry(id_: str, text: str) -> Entry:
    metadata = json.dumps({"bucket": _bucket(id_)}).encode()
    return Entry(id_, text, "en", "sentence", metadata, _space(id_))


def write(state: Path, seed: int) -> None:
    """Make a seed's changes without end, and tell the number of each once it is acknowledged."""
    collections = Collections(state)
    collections.create(NAME, CollectionSettings(_DIMENSIONS))
    collection = collections.get(NAME)
    for number, change in enumerate(changes(seed)):
        change.make(collection)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def kill_and_check(state: Path, seed: int, before: State) -> State:
    """Let a seed's process write after `before`, kill it, check what is there, and give that.

    Raises AssertionError where something acknowledged is lost, or something deleted is back.
    """
    acknowledged = _killed(state, seed)
    made = itertools.islice(changes(seed), acknowledged + 1)
    certain = before
    for change in itertools.islice(made, acknowledged):
        certain = change.after(certain)
    possible = next(made).after(certain)
    held = _opened_and_held(state, save=seed % 2 == 0)
    if held not in (certain, possible):
        raise AssertionError(
            f"seed {seed}, {acknowledged} changes acknowledged: "
            f"{len(certain.items() - held.items())} documents lost, "
            f"{len(held.items() - certain.items())} that should not be there"
        )
    return held


def _killed(state: Path, seed: int) -> int:
    """Run a seed's process and kill it; how many changes it acknowledged."""
    rng = np.random.default_rng([seed, 1])
    command = [
        sys.executable,
        "-m",
        "benchmarks.crash",
        "--write",
        str(seed),
        "--state",
        str(state),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if rng.random() < _BLIND:
                acknowledged, delay_s = 0, rng.uniform(0, 2)
            else:
                wanted = int(rng.integers(1, 50))
                acknowledged = sum(1 for _ in itertools.islice(process.stdout, wanted))
                delay_s = rng.uniform(0, 0.05)
            try:
                process.wait(float(delay_s))
            except subprocess.TimeoutExpired:
                process.kill()
            else:
                raise AssertionError(f"the process of seed {seed} ended by itself")
        finally:
            process.kill()
        # What it told before it died counts.
        return acknowledged + len(process.stdout.read().splitlines())


def _opened_and_held(state: Path, *, save: bool) -> State:
    """What the collection holds; without `save` the next process finds the files as they are."""
    collections = Collections(state)
    try:
        collections.create(NAME, CollectionSettings(_DIMENSIONS))
        if save:
            return _held(collections.get(NAME))
    finally:
        collections.close()
    collection = Collection.open(NAME, state / "collections" / NAME, lambda _: None)
    try:
        return _held(collection)
    finally:
        collection.abandon()


def _held(collection: Collection) -> State:
    """All that a collection holds, which search must find too, and nothing else."""
    documents, rows = collection.page(EVERYTHING, 0, 10 * _IDS)
    held = {each.id: each.text or "" for each in documents}
    assert len(held) == len(documents) == collection.count(), "an id stands twice"
    expected = vectors(list(held.values()))
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    for each in documents:
        found = collection.get(each.id)
        assert found is not None, f"{each.id} is not found by its id"
        assert found[0].text == each.text, f"{each.id} has another's text"
    numbers = {space: number for number, space in collection.spaces().items()}
    query = Query(queries=len(held), top_k=_IDS + 10)
    results = collection.search(query, dict.fromkeys(numbers.values(), expected))
    for each, hits in zip(documents, results, strict=True):
        assert hits[0].document.id == each.id, f"{each.id} is not found by its text"
        assert abs(hits[0].score - 1) < 1e-5, f"{each.id} is found with {hits[0].score}"
        ids = [hit.document.id for hit in hits]
        assert len(ids) == len(held), f"{len(ids)} of {len(held)} documents are found"
        assert set(ids) == held.keys(), "search finds documents that are not there"
    return held


@click.command(context_settings={"show_default": True})
@click.option("--seeds", type=click.IntRange(1), default=100, help="processes to kill")
@click.option("--state", type=click.Path(path_type=Path), help="folder  [default: a temporary one]")
@click.option("--write", "writer", type=int, hidden=True)
def main(seeds: int, state: Path | None, writer: int | None) -> None:
    """Kill writers, and check what they leave."""
    if writer is not None:
        assert state is not None
        write(state, writer)
    with tempfile.TemporaryDirectory() as folder:
        held: State = {}
        for seed in range(seeds):
            held = kill_and_check(state or Path(folder), seed, held)
            click.echo(f"seed {seed}: {len(held)} documents, all of them right")
    click.echo(f"{seeds} processes killed, nothing lost")


if __name__ == "__main__":
    main()
