"""A bundle is written whole or not at all, and never over another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import bundle as bundle_module
from models.bundle import Bundle, BundleError, write
from tests.models.made import FILES, REPOSITORY, manifest_values, names_in


@pytest.mark.parametrize("kind", ["folder", "bundle", "file", "dangling link"])
def test_the_writer_never_touches_what_is_there(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "b"
    if kind == "folder":
        target.mkdir()
    elif kind == "bundle":
        write(target, manifest_values(), FILES)
    elif kind == "file":
        target.write_bytes(b"mine")
    else:
        target.symlink_to("nowhere")
    state = target.lstat()
    with pytest.raises(FileExistsError, match="exists; a bundle is never changed"):
        write(target, manifest_values(), FILES)
    assert target.lstat() == state
    assert names_in(tmp_path) == ["b"]


def test_the_quicker_of_two_writers_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b"

    def lose_the_race(path: Path, to: Path) -> None:
        monkeypatch.undo()
        write(target, {**manifest_values(), "version": "9.9.9"}, FILES)
        path.rename(to)

    monkeypatch.setattr(Path, "rename", lose_the_race)
    with pytest.raises(FileExistsError, match="exists"):
        write(target, manifest_values(), FILES)
    assert Bundle.open(target).manifest.version == "9.9.9"
    assert names_in(tmp_path) == ["b"]


def circular() -> dict[str, Any]:
    values: dict[str, Any] = {}
    values["self"] = values
    return values


def deep() -> list[Any]:
    values: list[Any] = []
    for _ in range(100_000):
        values = [values]
    return values


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 0},
        {"dimension": "eight\nlines"},
        {"surprise": 1},
        {"provenance": {"x": float("nan")}},
        {"provenance": {"x": float("inf")}},
        {"provenance": {"x": b"bytes"}},
        {"provenance": {"x": {1, 2}}},
        {"provenance": {"x": Path("p")}},
        {"provenance": {"x": "\ud800"}},
        {"provenance": {1: "a", "1": "b"}},
        {"provenance": {("a", "b"): 1}},
        {"provenance": {"x": 10**5000}},
        {"provenance": {"x": "x" * (5 << 20)}},
        {"provenance": circular()},
        {"provenance": {"x": deep()}},
        {"graphs": {"float32": "not-given.onnx"}},
    ],
    ids=lambda change: repr(change)[:60] if "provenance" not in change else None,
)
def test_the_writer_refuses_a_bad_manifest_before_it_writes(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(BundleError) as caught:
        write(tmp_path / "new" / "b", {**manifest_values(), **change}, FILES)
    assert str(caught.value).isprintable()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", ".hidden", "", "manifest.json"])
def test_the_writer_refuses_a_file_name_before_it_writes(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="cannot name a file of a bundle"):
        write(tmp_path / "new" / "b", manifest_values(), {**FILES, name: b"x"})
    assert names_in(tmp_path) == []


def test_the_writer_needs_every_file_that_the_manifest_names(tmp_path: Path) -> None:
    files = {name: content for name, content in FILES.items() if name != "tokenizer.json"}
    with pytest.raises(BundleError, match=r"files: no record of tokenizer\.json"):
        write(tmp_path / "b", manifest_values(), files)
    assert names_in(tmp_path) == []


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "b", manifest_values(), {**FILES, "encoder.onnx": tmp_path / "gone"})
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_writer_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    written: list[list[str]] = []

    def write_some_then_fail(target: Path, content: Path | bytes) -> None:
        really_write(target, content)
        written.append(names_in(tmp_path))
        if len(written) == 2:
            raise failure

    really_write = bundle_module._write_file
    monkeypatch.setattr(bundle_module, "_write_file", write_some_then_fail)
    with pytest.raises(type(failure)):
        write(tmp_path / "b", manifest_values(), FILES)
    # It failed with files on disk, in a hidden folder only.
    assert [[name[:3] for name in names] for names in written] == [[".b."], [".b."]]
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("spoiled", ["encoder.onnx", "manifest.json"])
def test_what_reads_back_otherwise_is_not_renamed_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    def write_wrongly(target: Path, content: Path | bytes) -> None:
        assert isinstance(content, bytes)
        if target.name == spoiled:
            content = content.replace(b"\x07", b"\x08").replace(b'"seed": 7', b'"seed": 8')
        really_write(target, content)

    really_write = bundle_module._write_file
    monkeypatch.setattr(bundle_module, "_write_file", write_wrongly)
    with pytest.raises(BundleError, match=r"does not match its sha256|changes when written"):
        write(tmp_path / "b", manifest_values(), FILES)
    assert names_in(tmp_path) == []


def test_a_source_that_changes_while_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "graph"
    source.write_bytes(b"before")

    def change_then_write(target: Path, content: Path | bytes) -> None:
        source.write_bytes(b"after!")
        really_write(target, content)

    really_write = bundle_module._write_file
    monkeypatch.setattr(bundle_module, "_write_file", change_then_write)
    with pytest.raises(BundleError, match=r"encoder\.onnx does not match its sha256"):
        write(tmp_path / "b", manifest_values(), {**FILES, "encoder.onnx": source})
    assert names_in(tmp_path) == ["graph"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks /proc for names")
def test_all_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def sync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        events.append(f"sync {Path(name).name[:8]}")

    def rename(path: Path, to: Path) -> None:
        events.append("rename")
        really_rename(path, to)

    really_rename = Path.rename
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    write(tmp_path / "bundle0", manifest_values(), FILES)
    events = [event.replace(tmp_path.name[:8], "parent") for event in events]
    assert events == [
        "sync encoder.",
        "sync tokenize",
        "sync MODEL_CA",
        "sync manifest",
        "sync .bundle0",
        "rename",
        "sync parent",
    ]


KILLED_WRITER = """
import json, os, signal, sys
from pathlib import Path
from models import bundle

really_write = bundle._write_file
def write_then_die(target, content):
    really_write(target, content)
    if target.name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
bundle._write_file = write_then_die

values = json.loads(sys.stdin.read())
files = {name: b"x" for name in ("encoder.onnx", "tokenizer.json", "MODEL_CARD.md")}
bundle.write(Path(sys.argv[1]), values, files)
"""


@pytest.mark.parametrize("last", ["encoder.onnx", "manifest.json"])
def test_a_killed_writer_leaves_only_a_hidden_folder(tmp_path: Path, last: str) -> None:
    target = tmp_path / "b"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(target), last],
        input=json.dumps(manifest_values()),
        text=True,
        cwd=REPOSITORY,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [name[:3] for name in names_in(tmp_path)] == [".b."]
    assert Bundle.open(write(target, manifest_values(), FILES).path)
