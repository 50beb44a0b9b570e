"""All that a search reads, and how it is laid down in a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from service.errors import IndexDamaged, InvalidInput
from service.faiss_library import faiss
from service.retrieval.index import snapshot
from service.retrieval.index.design import Design, Effort, Efforts, at_hand
from service.retrieval.index.kept import Kept
from service.retrieval.index.rows import Rows
from service.retrieval.index.searching import Main
from service.retrieval.index.snapshot import Array, Snapshot
from service.retrieval.index.structure import Structure
from service.retrieval.index.values import (
    Bools,
    Floats,
    IndexReport,
    IndexWish,
    Keys,
    checked,
)


@dataclass(frozen=True, slots=True)
class State:
    """The structure, if there is one, and the rows beside it; a write makes another state."""

    rows: Rows
    main: Main | None

    @property
    def living(self) -> int:
        """Vectors that a search can find."""
        return self.rows.living + (self.main.living if self.main else 0)

    @property
    def bytes(self) -> int:
        """Memory held, about."""
        return self.rows.bytes + (self.main.structure.bytes if self.main else 0)

    def changed(self, removed: Keys, keys: Keys, vectors: Floats) -> Self:
        """Without `removed`, with distinct new `keys`, none of which is among what is left."""
        main = self.main.without(removed) if self.main else None
        return replace(self, rows=self.rows.changed(removed, keys, vectors), main=main)

    def absorbed(self, grown: Structure, kept: Kept, keys: Keys, stamps: Keys) -> Self:
        """With the structure `grown` by rows of an earlier state, which had `keys` and `stamps`,
        and the vectors of it `kept`.

        What was removed or replaced since is dead in it.
        """
        if self.main is None:
            raise ValueError("a state without a structure has none to grow")
        same = self.rows.same(keys, stamps)
        alive = np.concatenate([self.main.alive, same])
        before = self.main
        at_hand = before.at_hand and kept.takes_more
        main = Main.of(grown, before.efforts, kept, alive, before.mirror, at_hand=at_hand)
        return replace(self, rows=self.rows.without(keys[same]), main=main)


def write(path: Path, state: State, wish: IndexWish, report: IndexReport, sequence: int) -> None:
    """Write all of it to `path`; raises OSError where the disk does not take it."""
    keys, vectors = state.rows.living_rows()
    sections: dict[str, Array] = {"rows.keys": keys, "rows.vectors": vectors}
    fields: dict[str, Any] = {"wish": _plain(wish), "report": _plain(report)}
    if main := state.main:
        structure = main.structure
        fields["main"] = {
            "design": _plain(structure.design),
            "effort": asdict(main.efforts.plain),
            "filtered_effort": asdict(main.efforts.filtered),
            "trained_size": structure.trained_size,
        }
        sections["main.keys"] = structure.keys
        sections["main.alive"] = np.packbits(main.alive)
        sections["main.faiss"] = faiss.serialize_index(structure.faiss_index)
    snapshot.write(path, Snapshot(sequence, vectors.shape[1], fields, sections))


def read(path: Path) -> tuple[State, IndexWish, IndexReport, int]:
    """What `write` wrote to `path`, and the sequence number.

    Raises IndexDamaged for anything else, OSError where the file cannot be opened.
    """
    found = snapshot.read(path)
    try:
        keys, vectors = checked(found.sections["rows.keys"], found.sections["rows.vectors"])
        _match((vectors.shape[1],), (found.dimension,))
        wish = IndexWish(**found.fields["wish"])
        main = _main(found, wish, path.parent) if "main" in found.fields else None
        state = State(Rows.of(keys, vectors), main)
        report = IndexReport(**found.fields["report"])
    # RuntimeError is FAISS's.
    except (ValueError, KeyError, TypeError, RuntimeError, InvalidInput) as error:
        raise IndexDamaged(
            f"{path}: not an index of this version ({error}); build it again"
        ) from None
    return state, wish, report, found.sequence


def _main(found: Snapshot, wish: IndexWish, folder: Path) -> Main:
    values = found.fields["main"]
    keys, alive = found.sections["main.keys"], found.sections["main.alive"]
    index = faiss.read_index(faiss.PyCallbackIOReader(_reader(found.sections["main.faiss"])))
    design = Design(**values["design"])
    _match(
        (index.d, index.ntotal, keys.shape, keys.dtype, alive.dtype, alive.size),
        (found.dimension, len(keys), (len(keys),), np.int64, np.uint8, -(-len(keys) // 8)),
    )
    structure = Structure.of(design, index, keys.copy(), int(values["trained_size"]))
    living: Bools = np.unpackbits(alive, count=len(keys)).view(np.bool_)
    kept = Kept.empty(len(keys), found.dimension, folder)
    room = at_hand(design, len(keys), found.dimension, wish) and kept.takes_more
    plain = values["effort"]
    # Earlier versions knew one for both.
    efforts = Efforts(Effort(**plain), Effort(**values.get("filtered_effort", plain)))
    return Main.of(structure, efforts, kept, living, at_hand=room)


def _reader(content: Array) -> Any:  # noqa: ANN401
    """What FAISS calls for its next bytes, so that they are not copied as a whole."""
    view, place = content.data, 0

    def read(size: int) -> bytes:
        nonlocal place
        place += size
        return bytes(view[place - size : place])

    return read


def _match(found: tuple[object, ...], wanted: tuple[object, ...]) -> None:
    if found != wanted:
        raise ValueError(f"parts that do not fit: {found}, not {wanted}")


def _plain(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """A frozen value as JSON takes it."""
    return {
        name: dict(each) if isinstance(each, Mapping) else each
        for name, each in asdict(value).items()
    }
