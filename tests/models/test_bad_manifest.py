"""A manifest that is none, or says what cannot be, is refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.bundle import Manifest
from tests.models.made import FIDELITY, FILES, refusal, replace_in_manifest, rewrite_manifest


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
