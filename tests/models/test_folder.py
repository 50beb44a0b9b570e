"""A bundle opens only where the folder is, byte for byte, what its manifest says.

`models/` never looks inside a graph, so arbitrary bytes stand for one here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from models.bundle import write
from tests.models.made import FILES, manifest_values, refusal


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").endswith("none: no such folder")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "missing manifest.json" in refusal(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    assert "not a folder" in refusal(tmp_path / "f")


def test_a_path_that_no_file_system_has(tmp_path: Path) -> None:
    assert "cannot be listed" in refusal(tmp_path / "a\0b")
    assert "cannot be listed" in refusal(tmp_path / ("a" * 5000))


def test_a_folder_that_may_not_be_listed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Simulated: these tests may run as root, who may list anything.
    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    assert refusal(bundle).endswith("cannot be listed: Permission denied")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert f"missing {name}" in refusal(bundle)


def test_an_extra_file(bundle: Path) -> None:
    (bundle / ".DS_Store").write_bytes(b"")
    assert "not in the manifest: .DS_Store; remove" in refusal(bundle)


def test_extra_files_by_the_hundred_and_with_hostile_names(bundle: Path) -> None:
    (bundle / "line\nbreak\x1b[31m").write_bytes(b"")
    for number in range(200):
        (bundle / f"x{number:03}{'y' * 200}").write_bytes(b"")
    message = refusal(bundle)
    assert "line\\nbreak\\x1b[31m" in message
    assert "and 196 more" in message


def test_a_file_name_that_is_not_unicode(bundle: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(bundle) + b"/\xff")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    assert "\\udcff" in refusal(bundle)


def test_a_sub_folder(bundle: Path) -> None:
    (bundle / "sub").mkdir()
    assert "not in the manifest: sub" in refusal(bundle)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_folder_in_place_of_a_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    assert f"{name} is not a plain file" in refusal(bundle)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_link_in_place_of_a_file(bundle: Path, name: str) -> None:
    (bundle / name).rename(bundle.parent / name)
    (bundle / name).symlink_to(bundle.parent / name)
    assert f"{name} is not a plain file" in refusal(bundle)


def test_a_link_to_nothing(bundle: Path) -> None:
    (bundle / "encoder.onnx").unlink()
    (bundle / "encoder.onnx").symlink_to("nowhere")
    assert "encoder.onnx is not a plain file" in refusal(bundle)


@pytest.mark.parametrize("name", ["encoder.onnx", "manifest.json"])
def test_a_fifo_is_refused_and_never_waited_for(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    # The alarm ends a reader that waits for the FIFO's writer, which never comes.
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waits for the FIFO"))
    signal.alarm(20)
    try:
        assert f"{name} is not a plain file" in refusal(bundle)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_socket_in_place_of_a_file() -> None:
    # Not in tmp_path: a socket's path may be 107 bytes long.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = write(Path(folder) / "b", manifest_values(), FILES).path
        (path / "tokenizer.json").unlink()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path / "tokenizer.json"))
            assert "tokenizer.json is not a plain file" in refusal(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="makes a device")
def test_a_device_in_place_of_a_file(bundle: Path) -> None:
    (bundle / "encoder.onnx").unlink()
    try:
        os.mknod(bundle / "encoder.onnx", 0o020644, os.makedev(1, 5))  # /dev/zero: endless
    except PermissionError:
        pytest.skip("no devices may be made here")
    assert "encoder.onnx is not a plain file" in refusal(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file(bundle: Path, name: str) -> None:
    size = len(FILES[name])
    (bundle / name).write_bytes(FILES[name][:-1])
    assert f"{name} is {size - 1} bytes, the manifest says {size}; copy" in refusal(bundle)


def test_a_file_that_grew(bundle: Path) -> None:
    with (bundle / "encoder.onnx").open("ab") as file:
        file.write(b"\0")
    assert "encoder.onnx is 5121 bytes, the manifest says 5120" in refusal(bundle)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0, -1])
def test_one_wrong_bit(bundle: Path, name: str, position: int) -> None:
    content = bytearray(FILES[name])
    content[position] ^= 1
    (bundle / name).write_bytes(content)
    assert f"{name} does not match its sha256" in refusal(bundle)


def test_sizes_come_before_hashes(bundle: Path) -> None:
    (bundle / "encoder.onnx").write_bytes(bytes(len(FILES["encoder.onnx"])))
    (bundle / "MODEL_CARD.md").write_bytes(b"short")
    assert "MODEL_CARD.md is 5 bytes" in refusal(bundle)


def test_two_files_exchanged(bundle: Path) -> None:
    (bundle / "encoder.onnx").rename(bundle / "swap")
    (bundle / "tokenizer.json").rename(bundle / "encoder.onnx")
    (bundle / "swap").rename(bundle / "tokenizer.json")
    assert "bytes, the manifest says" in refusal(bundle)


@pytest.mark.parametrize("name", ["encoder.onnx", "manifest.json"])
def test_a_file_that_may_not_be_read(
    bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: object, **options: object) -> object:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, *args, **options)  # type: ignore[call-overload]

    really_open = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(bundle).endswith(f"{name} cannot be read: Permission denied")


@pytest.mark.parametrize("name", ["encoder.onnx", "manifest.json"])
def test_a_file_removed_after_the_folder_was_listed(
    bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_and_lose(path: Path) -> list[str]:
        names = really_list(path)
        (bundle / name).unlink()
        return names

    really_list = os.listdir
    monkeypatch.setattr(os, "listdir", list_and_lose)
    assert refusal(bundle).endswith(f"{name} cannot be read: No such file or directory")


def test_a_file_removed_between_size_and_hash(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_and_lose(descriptor: int) -> os.stat_result:
        measured = really_measure(descriptor)
        (bundle / "encoder.onnx").unlink(missing_ok=True)
        return measured

    really_measure = os.fstat
    monkeypatch.setattr(os, "fstat", measure_and_lose)
    assert "encoder.onnx cannot be read: No such file" in refusal(bundle)


def test_a_disk_that_fails_while_hashing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: object, algorithm: str) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    assert refusal(bundle).endswith("encoder.onnx cannot be read: Input/output error")
