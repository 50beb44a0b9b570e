"""A bundle opens only where the folder is, byte for byte, what its manifest says.

`models/` never looks inside a graph, so arbitrary bytes stand for one here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import bundle as bundle_module
from models.bundle import (
    DEFAULT_BUNDLE,
    FORMAT_VERSION,
    Adapter,
    Bundle,
    BundleError,
    Granularity,
    Manifest,
    sha256_of,
    write,
)
from models.precision import Fidelity, Precision

REPOSITORY = Path(__file__).parents[2]

FILES: dict[str, bytes] = {
    "encoder.onnx": bytes(range(256)) * 20,
    "tokenizer.json": b"{}",
    "MODEL_CARD.md": "# Karte für ein Bündel\n".encode(),
}


FIDELITY = {
    "mean_cosine": 0.9995,
    "worst_cosine": 0.99,
    "top10_overlap": 0.98,
    "batch_drift": 0.0005,
    "largest_change": 0.002,
    "texts": 500,
    "source": "some corpus",
    "runtime": "a runtime 1.0",
    "processor": "a processor",
}


def manifest_values() -> dict[str, Any]:
    """Every field that a writer gives, each with a value of its own."""
    return {
        "name": "test-bundle",
        "version": "1.2.3",
        "dimension": 8,
        "vocabulary_size": 100,
        "languages": ["en", "zh-Hant", "sr-Latn", "yue"],
        "pooling": "mean",
        "adapters": [
            {"name": "ph", "granularity": "phrase", "row": 1, "max_tokens": 32},
            {"name": "st", "granularity": "sentence", "row": 0, "max_tokens": 128},
            {"name": "pg", "granularity": "paragraph", "row": 2, "max_tokens": 384},
            {"name": "wd", "granularity": "word", "row": 3, "max_tokens": 128},
        ],
        "routing": {"phrase": "ph", "sentence": "st", "paragraph": "pg"},
        "comparable": [["ph", "st"]],
        "graphs": {"float32": "encoder.onnx"},
        "fidelity": {"bfloat16": FIDELITY},
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": 0},
        "model_card": "MODEL_CARD.md",
        "provenance": {"backbone": "none", "seed": 7, "κλειδί": ["ü", None, 0.1]},
        "scores": {"tatoeba": {"de": 0.5}},
        "calibration": None,
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that opens, for a test to spoil."""
    return write(tmp_path / "good", manifest_values(), FILES).path


def refusal(path: Path) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    message = str(caught.value)
    assert message.isprintable(), "a line break or a control character"
    assert len(message) <= 1001
    assert "Value error" not in message, "pydantic's own words"
    return message


def rewrite_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = path / "manifest.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    change(values)
    file.write_text(json.dumps(values), encoding="utf-8")


def replace_in_manifest(path: Path, old: str, new: str) -> None:
    file = path / "manifest.json"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


# --- what opens ---


def test_what_was_written_opens_and_says_the_same(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened == Bundle(bundle, opened.manifest)
    said = opened.manifest.model_dump(mode="json")
    files = said.pop("files")
    absent = {"dimensions": None, "token_layer": None}
    assert said == {"format_version": FORMAT_VERSION, **absent, **manifest_values()}
    assert files == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in FILES.items()
    }
    assert {entry.name: entry.read_bytes() for entry in bundle.iterdir()} == {
        **FILES,
        "manifest.json": (bundle / "manifest.json").read_bytes(),
    }


def test_paths_of_the_parts(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.graph() == opened.graph(Precision.FLOAT32) == bundle / "encoder.onnx"
    assert opened.graph(Precision.BFLOAT16) == bundle / "encoder.onnx"
    with pytest.raises(KeyError):
        opened.graph(Precision.INT8)
    assert opened.file("tokenizer.json") == bundle / "tokenizer.json"
    with pytest.raises(KeyError):
        opened.file("manifest.json")


def _as_version_1(values: dict[str, Any]) -> None:
    values["format_version"] = 1
    del values["fidelity"]


def test_a_bundle_of_version_1_opens_without_any_fidelity(bundle: Path) -> None:
    rewrite_manifest(bundle, _as_version_1)
    manifest = Bundle.open(bundle).manifest
    assert (manifest.format_version, manifest.fidelity) == (1, {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 1}, "format version 1 knows float32 alone"),
        (
            {"format_version": 1, "graphs": {"float32": "encoder.onnx", "int8": "encoder.onnx"}},
            "format version 1 knows float32 alone",
        ),
    ],
)
def test_version_1_has_nothing_of_version_2(
    bundle: Path, change: dict[str, Any], reason: str
) -> None:
    rewrite_manifest(bundle, lambda values: values.update(change))
    assert reason in refusal(bundle)


def test_version_2_must_say_what_was_measured(bundle: Path) -> None:
    rewrite_manifest(bundle, lambda values: values.pop("fidelity"))
    assert "fidelity: Field required" in refusal(bundle)


def test_the_shipped_bundle_is_of_a_version_that_is_read() -> None:
    manifest = Bundle.open(DEFAULT_BUNDLE).manifest
    assert (manifest.format_version == 1) == ("fidelity" not in manifest.model_fields_set)


@pytest.mark.parametrize(
    ("field", "just", "beyond"),
    [
        ("mean_cosine", 0.999, 0.9989),
        ("top10_overlap", 0.97, 0.9699),
        ("batch_drift", 1e-3, 1.01e-3),
    ],
)
def test_each_limit_decides_what_qualifies(field: str, just: float, beyond: float) -> None:
    best = FIDELITY | {"mean_cosine": 1.0, "top10_overlap": 1.0, "batch_drift": 0.0}
    assert Fidelity.model_validate(best | {field: just}).qualifies
    assert not Fidelity.model_validate(best | {field: beyond}).qualifies


def test_dimensions_that_it_may_be_cut_to(tmp_path: Path) -> None:
    values = manifest_values()
    plain = write(tmp_path / "plain", values, FILES).manifest
    assert plain.allowed_dimensions == (plain.dimension,)
    allowed = (1, 3, plain.dimension)
    cut = write(tmp_path / "cut", {**values, "dimensions": allowed}, FILES)
    assert Bundle.open(cut.path).manifest.allowed_dimensions == allowed
    rewrite_manifest(cut.path, _as_version_1)
    assert "dimensions: is a field of format version 2" in refusal(cut.path)


@pytest.mark.parametrize("wrong", [[], [0, 8], [8, 4], [4, 4, 8], [4], [4, 9]])
def test_dimensions_rise_to_the_dimension(tmp_path: Path, wrong: list[int]) -> None:
    with pytest.raises(BundleError, match="dimensions"):
        write(tmp_path / "b", {**manifest_values(), "dimensions": wrong}, FILES)


MEASURED = {"adapter": "st", "sentences": 5, "aer": [20.5, 30], "aer_by_set": {"a": [20.5, 30]}}


def test_the_layer_of_the_token_states(tmp_path: Path) -> None:
    told = {"layer": 1, "layers": 2, "measured": MEASURED}
    path = write(tmp_path / "b", {**manifest_values(), "token_layer": told}, FILES).path
    read = Bundle.open(path).manifest.token_layer
    assert read is not None
    assert (read.layer, read.layers) == (1, 2)
    assert read.measured is not None
    assert read.measured.aer == (20.5, 30)
    rewrite_manifest(path, _as_version_1)
    assert "token_layer: is a field of format version 2" in refusal(path)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"layer": 0}, "token_layer.layer: Input should be greater than or equal to 1, not 0"),
        ({"layer": 3}, "token_layer: layer 3 of 2"),
        ({"layers": 3}, "token_layer: aer has 2 figures for 3 layers"),
        ({"measured": {**MEASURED, "aer_by_set": {}}}, "aer_by_set"),
        ({"measured": {**MEASURED, "aer_by_set": {"a": [1]}}}, "a has 1 figures for 2 layers"),
        ({"measured": {**MEASURED, "aer": [101, 3]}}, "less than or equal to 100"),
        ({"measured": {**MEASURED, "adapter": "none"}}, "token_layer: no adapter named none"),
        ({"surprise": 1}, "token_layer.surprise"),
    ],
)
def test_a_layer_that_is_none_is_refused(
    bundle: Path, wrong: dict[str, object], reason: str
) -> None:
    told = {"layer": 1, "layers": 2, "measured": MEASURED, **wrong}
    rewrite_manifest(bundle, lambda values: values.update(token_layer=told))
    assert reason in refusal(bundle)


def test_adapters_and_what_compares(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    assert manifest.adapter("st") == Adapter(
        name="st", granularity=Granularity.SENTENCE, row=0, max_tokens=128
    )
    with pytest.raises(KeyError):
        manifest.adapter("xx")
    comparable = {
        (one, other)
        for one in ("ph", "st", "pg", "wd")
        for other in ("ph", "st", "pg", "wd")
        if manifest.is_comparable(one, other)
    }
    assert comparable == {
        ("ph", "ph"),
        ("st", "st"),
        ("pg", "pg"),
        ("wd", "wd"),
        ("ph", "st"),
        ("st", "ph"),
    }


def test_a_link_to_a_bundle_opens(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle, target_is_directory=True)
    assert Bundle.open(tmp_path / "current").manifest == Bundle.open(bundle).manifest


def test_everyone_may_read_what_was_written(tmp_path: Path) -> None:
    # An image is built by one user and runs as another.
    before = os.umask(0o077)
    try:
        path = write(tmp_path / "b", manifest_values(), FILES).path
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o755
    assert {entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {0o644}


def test_a_file_is_copied_from_a_path(tmp_path: Path) -> None:
    source = tmp_path / "graph"
    source.write_bytes(FILES["encoder.onnx"])
    path = write(tmp_path / "b", manifest_values(), {**FILES, "encoder.onnx": source}).path
    assert (path / "encoder.onnx").read_bytes() == FILES["encoder.onnx"]
    assert source.exists()


def test_files_beyond_the_needed_ones_are_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "b", manifest_values(), {**FILES, "NOTICE": b"thanks"}).path
    assert "NOTICE" in Bundle.open(path).manifest.files


def test_the_manifest_may_hold_models_and_enums(tmp_path: Path) -> None:
    values = manifest_values()
    values["adapters"] = tuple(Adapter.model_validate(one) for one in values["adapters"])
    values["routing"] = {Granularity(key): name for key, name in values["routing"].items()}
    manifest = write(tmp_path / "b", values, FILES).manifest
    assert manifest.model_dump(mode="json")["adapters"] == manifest_values()["adapters"]


def test_sha256_of_is_sha256(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"abc" * 700_000)
    assert sha256_of(file) == hashlib.sha256(b"abc" * 700_000).hexdigest()


# --- folders that are no bundle ---


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


# --- folders whose files are not those of the manifest ---


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


# --- manifests that cannot be trusted ---


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"not json\n", "is not JSON"),
        (b'{"format_version": 1', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"format_version": 1} {}', "is not JSON"),
        (b'{"format_version": ' + b"1" * 5000 + b"}", "is not JSON"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e999}', "1e999 is not a finite number"),
        (b'{"a": 1' + b"0" * 100_000 + b".5}", "is not a finite number"),
        (b'{"format_version": 2, "format_version": 1}', "key 'format_version' repeats"),
        (b'{"a": {"' + b"k" * 100_000 + b'": 1, "' + b"k" * 100_000 + b'": 2}}', "repeats"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (b'{"name": "\xc3"}', "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deeply"),
        (b"{}" + b" " * (4 << 20), "is larger than 4194304 bytes"),
        (b"[1, 2]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b"{}", "format_version is None"),
        (b'{"format_version": 3}', "format_version is 3, this program reads 1 and 2"),
        (b'{"format_version": 0}', "format_version is 0"),
        (b'{"format_version": "1"}', "format_version is '1'"),
        (b'{"format_version": 1.0}', "format_version is 1.0"),
        (b'{"format_version": true}', "format_version is True"),
        (b'{"format_version": ["\\n' + b"x" * 100_000 + b'"]}', "format_version is ['\\n"),
        (b'{"format_version": 1}', "name: Field required"),
    ],
)
def test_a_manifest_that_is_none(bundle: Path, content: bytes, reason: str) -> None:
    (bundle / "manifest.json").write_bytes(content)
    assert reason in refusal(bundle)


def test_a_later_version_is_told_before_its_other_fields(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b'{"format_version": 3, "shape": "unheard of"}')
    assert "format_version is 3, this program reads 1 and 2; update" in refusal(bundle)


def test_nesting_that_only_the_second_parser_refuses(bundle: Path) -> None:
    deep = "[" * 500 + "]" * 500
    replace_in_manifest(bundle, '"seed": 7', f'"seed": {deep}')
    assert "manifest.json" in refusal(bundle)


def test_a_lone_surrogate(bundle: Path) -> None:
    replace_in_manifest(bundle, '"backbone": "none"', '"backbone": "\\ud800"')
    assert "manifest.json" in refusal(bundle)


def test_a_repeated_key_deep_inside(bundle: Path) -> None:
    replace_in_manifest(bundle, '"seed": 7', '"seed": 7, "seed": 8')
    assert "key 'seed' repeats" in refusal(bundle)


@pytest.mark.parametrize("field", sorted({*Manifest.model_fields} - {"dimensions", "token_layer"}))
def test_every_field_is_needed(bundle: Path, field: str) -> None:
    rewrite_manifest(bundle, lambda values: values.pop(field))
    assert field in refusal(bundle)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("surprise", 1, "surprise: Extra inputs are not permitted, not 1"),
        ("name", "Upper", "name: String should match"),
        ("name", "a/b", "name: String should match"),
        ("name", "", "name: String should match"),
        ("name", "a\n", "name: String should match"),
        ("name", "a" * 101, "name: String should match"),
        ("name", None, "name: Input should be a valid string"),
        ("version", "1.0", "version: String should match"),
        ("version", "١.٢.٣", "version: String should match"),
        ("version", "1.0.0" + "x" * 100_000, "version: String should have at most 100"),
        ("dimension", 0, "dimension: Input should be greater than 0, not 0"),
        ("dimension", -3, "dimension: Input should be greater than 0, not -3"),
        ("dimension", "8", "dimension: Input should be a valid integer, not '8'"),
        ("dimension", 8.0, "dimension: Input should be a valid integer, not 8.0"),
        ("dimension", True, "dimension: Input should be a valid integer, not True"),
        ("vocabulary_size", 0, "vocabulary_size: Input should be greater than 0"),
        ("languages", ["en", ""], "languages.1: String should match"),
        ("languages", ["en", "de", "en"], "languages: some repeat"),
        ("languages", "en", "languages: Input should be a valid"),
        ("pooling", "max", "pooling: Input should be 'mean', not 'max'"),
        ("adapters", [], "adapters: Tuple should have at least 1 item"),
        ("routing", {"phrase": "ph"}, "routing: names not exactly phrase, sentence, paragraph"),
        ("comparable", [["ph", "xx"]], "no adapter named xx"),
        ("comparable", ["ph"], "comparable.0"),
        ("graphs", {}, "graphs: Dictionary should have at least 1 item"),
        ("graphs", {"float64": "encoder.onnx"}, "graphs.float64.[key]"),
        ("graphs", {"float16": "encoder.onnx"}, "graphs: none of float32"),
        (
            "graphs",
            {"float32": "encoder.onnx", "bfloat16": "encoder.onnx"},
            "graphs: bfloat16 is an arithmetic of the float32 graph",
        ),
        ("fidelity", {"int8": FIDELITY}, "fidelity: of int8, which the bundle does not have"),
        ("fidelity", {"float32": FIDELITY}, "fidelity: of float32"),
        ("fidelity", {"bfloat16": {**FIDELITY, "texts": 0}}, "fidelity.bfloat16.texts: "),
        ("fidelity", {"bfloat16": {**FIDELITY, "top10_overlap": 1.1}}, "top10_overlap: "),
        ("fidelity", {"bfloat16": {**FIDELITY, "batch_drift": -0.1}}, "batch_drift: "),
        ("fidelity", {"bfloat16": {**FIDELITY, "mean": 1}}, "fidelity.bfloat16.mean: Extra"),
        ("fidelity", None, "fidelity: "),
        ("graphs", {"float32": "other.onnx"}, "files: no record of other.onnx"),
        ("graphs", {"float32": "../encoder.onnx"}, "graphs.float32: String should match"),
        ("tokenizer", {"file": "gone", "pad_token_id": 0}, "files: no record of gone"),
        ("tokenizer", {"file": "/etc/passwd", "pad_token_id": 0}, "tokenizer.file"),
        ("tokenizer", {"file": "tokenizer.json", "pad_token_id": -1}, "tokenizer.pad_token_id"),
        ("tokenizer", {"file": "tokenizer.json", "pad_token_id": 100}, "outside the vocabulary"),
        ("model_card", "gone", "files: no record of gone"),
        ("model_card", "..", "model_card: String should match"),
        ("provenance", [], "provenance: Input should be"),
        ("scores", None, "scores: Input should be"),
        ("calibration", 0.5, "calibration: Input should be"),
        ("files", {}, "missing"),
        ("files", [], "files: Input should be"),
    ],
)
def test_a_bad_field(bundle: Path, field: str, value: object, reason: str) -> None:
    rewrite_manifest(bundle, lambda values: values.update({field: value}))
    if field == "files" and value == {}:
        reason = "files: no record of MODEL_CARD.md, encoder.onnx, tokenizer.json"
    assert reason in refusal(bundle)


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        ({"row": 2}, "adapters: rows are not 0 to 3, each once"),
        ({"row": 4}, "adapters: rows are not 0 to 3, each once"),
        ({"row": -1}, "adapters.0.row: Input should be greater than or equal to 0, not -1"),
        ({"name": "st"}, "adapters: names repeat: st, st, pg, wd"),
        ({"granularity": "word"}, "routing: phrase goes to ph, a word adapter"),
        ({"granularity": "chapter"}, "adapters.0.granularity: Input should be"),
        ({"max_tokens": 2}, "adapters.0.max_tokens: Input should be greater than or equal to 3"),
        ({"surprise": 1}, "adapters.0.surprise: Extra inputs are not permitted"),
    ],
)
def test_a_bad_adapter(bundle: Path, adapter: dict[str, object], reason: str) -> None:
    rewrite_manifest(bundle, lambda values: values["adapters"][0].update(adapter))
    assert reason in refusal(bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"surprise": "ph"}, "routing.surprise.[key]"),
        ({"word": "wd"}, "routing: names not exactly"),
        ({"phrase": "wd"}, "routing: phrase goes to wd, a word adapter"),
        ({"phrase": "xx"}, "no adapter named xx"),
    ],
)
def test_a_bad_route(bundle: Path, change: dict[str, str], reason: str) -> None:
    rewrite_manifest(bundle, lambda values: values["routing"].update(change))
    assert reason in refusal(bundle)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "sub/file", "..", ".", "", ".hidden", "a\\b", "a\0b", "a\nb", "é"],
)
def test_a_file_name_that_leaves_the_folder(bundle: Path, name: str) -> None:
    record = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    rewrite_manifest(bundle, lambda values: values["files"].update({name: record}))
    assert "String should match pattern" in refusal(bundle)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"bytes": -1}, "files.encoder.onnx.bytes"),
        ({"bytes": 5120.0}, "files.encoder.onnx.bytes"),
        ({"sha256": "0" * 63}, "files.encoder.onnx.sha256"),
        ({"sha256": hashlib.sha256(FILES["encoder.onnx"]).hexdigest().upper()}, ".sha256"),
        ({"md5": "0"}, "files.encoder.onnx.md5: Extra inputs"),
    ],
)
def test_a_bad_file_record(bundle: Path, record: dict[str, object], reason: str) -> None:
    rewrite_manifest(bundle, lambda values: values["files"]["encoder.onnx"].update(record))
    assert reason in refusal(bundle)


def test_the_manifest_cannot_list_itself(bundle: Path) -> None:
    record = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    rewrite_manifest(bundle, lambda values: values["files"].update({"manifest.json": record}))
    assert "manifest.json cannot list itself" in refusal(bundle)


# --- the writer ---


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


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


# --- the round trip ---

_names = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=1, max_size=12)
_versions = st.from_regex(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}([a-z0-9.+-]{0,10})", fullmatch=True)
_languages = st.lists(
    st.from_regex(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}", fullmatch=True), max_size=5, unique=True
)
_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)
_objects = st.dictionaries(_keys, _json, max_size=4)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a writer may ask for: every field of the manifest, and the files."""
    names = draw(st.lists(_names, min_size=1, max_size=5, unique=True))
    granularities = [draw(st.sampled_from(["phrase", "sentence", "paragraph"])) for _ in names]
    granularities[1:] = [draw(st.sampled_from([g.value for g in Granularity])) for _ in names[1:]]
    text_names = [n for n, g in zip(names, granularities, strict=True) if g != "word"]
    rows = draw(st.permutations(range(len(names))))
    file_names = draw(st.lists(_names.map("f{}".format), min_size=3, max_size=5, unique=True))
    vocabulary_size = draw(st.integers(1, 2**31))
    dimension = draw(st.integers(1, 10_000))
    manifest = {
        "name": draw(_names),
        "version": draw(_versions),
        "dimension": dimension,
        "vocabulary_size": vocabulary_size,
        "languages": draw(_languages),
        "pooling": "mean",
        "adapters": [
            {
                "name": name,
                "granularity": granularity,
                "row": row,
                "max_tokens": draw(st.integers(3, 10_000)),
            }
            for name, granularity, row in zip(names, granularities, rows, strict=True)
        ],
        "routing": {
            key: draw(st.sampled_from(text_names)) for key in ("phrase", "sentence", "paragraph")
        },
        "comparable": draw(st.lists(st.lists(st.sampled_from(names), max_size=3), max_size=3)),
        "graphs": {"float32": file_names[0]},
        "fidelity": draw(st.sampled_from([{}, {"bfloat16": FIDELITY}])),
        "tokenizer": {
            "file": file_names[1],
            "pad_token_id": draw(st.integers(0, vocabulary_size - 1)),
        },
        "model_card": file_names[2],
        "provenance": draw(_objects),
        "scores": draw(_objects),
        "calibration": draw(st.none() | _objects),
    }
    manifest["dimensions"] = draw(st.none() | _dimensions(dimension))
    manifest["token_layer"] = draw(st.none() | _token_layers(names))
    return manifest, {name: draw(st.binary(max_size=64)) for name in file_names}


@st.composite
def _token_layers(draw: st.DrawFn, adapters: list[str]) -> dict[str, Any]:
    layers = draw(st.integers(1, 24))
    errors = st.lists(st.floats(0, 100), min_size=layers, max_size=layers)
    measured = {
        "adapter": draw(st.sampled_from(adapters)),
        "sentences": draw(st.integers(1, 10_000)),
        "aer": draw(errors),
        "aer_by_set": draw(st.dictionaries(_names, errors, min_size=1, max_size=3)),
    }
    return {
        "layer": draw(st.integers(1, layers)),
        "layers": layers,
        "measured": draw(st.sampled_from([None, measured])),
    }


def _dimensions(largest: int) -> st.SearchStrategy[list[int]]:
    shorter = st.sets(st.integers(1, largest - 1), max_size=3) if largest > 1 else st.just(set())
    return shorter.map(lambda numbers: [*sorted(numbers), largest])


@given(manifests())
@settings(max_examples=60, deadline=None)
def test_any_bundle_reads_back_as_it_was_asked_for(
    asked: tuple[dict[str, Any], dict[str, bytes]],
) -> None:
    manifest, files = asked
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder) / "b", manifest, files)
        opened = Bundle.open(written.path)
        assert opened == written
        said = opened.manifest.model_dump(mode="json", exclude={"format_version", "files"})
        assert said == manifest
        assert {name: opened.file(name).read_bytes() for name in files} == files
        # Written again from what was read, it is the same folder, byte for byte.
        again = write(Path(folder) / "c", opened.manifest.model_dump(mode="json"), files)
        assert (again.path / "manifest.json").read_bytes() == (
            written.path / "manifest.json"
        ).read_bytes()
        shutil.rmtree(again.path)


@given(position=st.integers(0, 10**6), replacement=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_one_changed_byte_of_the_manifest_never_ends_in_another_error(
    spoilable: Path, position: int, replacement: int
) -> None:
    content = (spoilable / "manifest.json").read_bytes()
    position %= len(content)
    spoiled = content[:position] + bytes([replacement]) + content[position + 1 :]
    with contextlib.suppress(BundleError):
        bundle_module._parse_manifest(spoilable, spoiled)


@pytest.fixture(scope="module")
def spoilable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoilable") / "b", manifest_values(), FILES).path
