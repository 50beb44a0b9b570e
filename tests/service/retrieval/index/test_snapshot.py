from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.errors import IndexDamaged
from service.retrieval.index import Index, IndexWish, snapshot
from service.retrieval.index.snapshot import Snapshot
from tests.service.retrieval.index.stored import Stored, unit_rows


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small index in a file."""
    stored = Stored(4)
    stored.put(np.arange(5), unit_rows(np.random.default_rng(0), 5, 4))
    path = tmp_path / "index"
    Index.build(*stored.arrays(), IndexWish(), stored.fetch).save(path, 7)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    sections: dict[str, snapshot.Array] = {
        "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
        "none": np.empty((0, 3), np.int64),
        "bytes": np.arange(5, dtype=np.uint8),
    }
    snapshot.write(tmp_path / "x", Snapshot(12, 3, {"name": "ü", "n": 1}, sections))
    read = snapshot.read(tmp_path / "x")
    assert (read.sequence, read.dimension, read.fields) == (12, 3, {"name": "ü", "n": 1})
    assert read.sections.keys() == sections.keys()
    for name, array in sections.items():
        np.testing.assert_array_equal(read.sections[name], array)
        assert read.sections[name].dtype == array.dtype
        assert not read.sections[name].flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_every_flipped_byte_and_every_cut_is_found(saved: Path) -> None:
    whole = saved.read_bytes()
    for place in range(len(whole)):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IndexDamaged):
            snapshot.read(saved)
        saved.write_bytes(whole[:place])
        with pytest.raises(IndexDamaged):
            snapshot.read(saved)


@pytest.mark.parametrize("more", [b"\0", b"trailing", b"\0" * 64])
def test_trailing_bytes_are_found(saved: Path, more: bytes) -> None:
    saved.write_bytes(saved.read_bytes() + more)
    with pytest.raises(IndexDamaged, match="bytes of"):
        Index.load(saved, Stored(4).fetch)


@pytest.mark.parametrize("content", [b"", b"IxFI" + b"\0" * 200, b"SQLite format 3\0" * 20])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index"
    path.write_bytes(content)
    with pytest.raises(IndexDamaged, match="build it again"):
        Index.load(path, Stored(4).fetch)


def test_a_missing_file_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Index.load(tmp_path / "index", Stored(4).fetch)


def test_sections_of_another_shape_are_refused(saved: Path) -> None:
    read = snapshot.read(saved)
    keys, vectors = read.sections["rows.keys"], read.sections["rows.vectors"]
    wrong = [
        (4, {"rows.keys": keys[:4], "rows.vectors": vectors}),
        (4, {"rows.keys": keys, "rows.vectors": vectors[:, :3].copy()}),
        (3, {"rows.keys": keys, "rows.vectors": vectors}),
        (4, {"rows.keys": keys - 3, "rows.vectors": vectors}),
        (4, {"rows.vectors": vectors}),
    ]
    for dimension, sections in wrong:
        snapshot.write(saved, Snapshot(7, dimension, read.fields, sections))
        with pytest.raises(IndexDamaged, match="not an index of this version"):
            Index.load(saved, Stored(4).fetch)


def test_a_failed_write_leaves_what_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    index, _ = Index.load(saved, Stored(4).fetch)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        index.save(saved, 8)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
