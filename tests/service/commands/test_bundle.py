"""`polygrain info` and `polygrain bundle verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.service.commands.running import one_line, run
from tests.tiny_bundle import DIMENSION, write_tiny_bundle


def test_info_describes_the_bundle(bundle: Bundle) -> None:
    info = json.loads(run("info").stdout)
    assert (info["name"], info["dimensions"]) == ("tiny", DIMENSION)
    assert info["routing"] == {"phrase": "phrase", "sentence": "sentence", "paragraph": "paragraph"}


def test_info_tells_what_would_compute_the_model(bundle: Bundle) -> None:
    info = json.loads(run("info", "--runtime", "onnxruntime", "--device", "cpu").stdout)
    assert (info["runtime"], info["precision"], info["device"]) == (
        *("onnxruntime", "float32", "cpu"),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "int8"), "the bundle has no graph of int8, only of float32"),
        (("--runtime", "onnxruntime", "--precision", "bfloat16"), "there is no such combination"),
        (("--precision", "float64"), "--precision is 'float64': input should be 'auto', 'float32'"),
    ],
)
@pytest.mark.parametrize("command", ["embed", "info"])
def test_what_cannot_compute_the_model_is_refused_in_one_line(
    bundle: Bundle, command: str, arguments: tuple[str, ...], message: str
) -> None:
    assert message in one_line(run(command, *arguments), 2)


def test_a_bundle_is_verified_in_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    result = run("bundle", "verify", bundle.path)
    assert (result.exit_code, result.stdout) == (0, "OK tiny 0.1.0: 3 files match\n")
    (bundle.path / "MODEL_CARD.md").write_bytes(b"# tiny\n\nA toy for tests?\n")
    for command in (["bundle", "verify"], ["info", "--bundle"]):
        result = run(*command, bundle.path)
        assert "MODEL_CARD.md does not match its sha256" in one_line(result, 1)
        assert len(result.stderr.splitlines()) == 1
