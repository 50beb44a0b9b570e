"""What a bundle that opens says of itself, and what its writer makes of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from models.bundle import (
    DEFAULT_BUNDLE,
    FORMAT_VERSION,
    Adapter,
    Bundle,
    BundleError,
    Granularity,
    sha256_of,
    write,
)
from models.precision import Fidelity, Precision
from tests.models.made import FIDELITY, FILES, manifest_values, refusal, rewrite_manifest


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
