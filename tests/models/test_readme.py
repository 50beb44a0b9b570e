"""The specification is held true: its example runs, and its tables name what the code names."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import FORMAT_VERSION, Adapter, Bundle, LayerErrors, Manifest, TokenLayer
from models.precision import Fidelity
from tests.tiny_bundle import expected_embedding

README = (Path(__file__).parents[2] / "models" / "README.md").read_text(encoding="utf-8")


def example() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(code)


def run_example(bundle: Path) -> dict[str, Any]:
    """The example's names after it ran on `bundle` instead of the shipped one."""
    code = example()
    shipped = '"models/polygrain-mini"'
    assert code.count(shipped) == 1
    names: dict[str, Any] = {}
    exec(compile(code.replace(shipped, repr(str(bundle))), "models/README.md", "exec"), names)
    return names


def test_the_example_needs_three_libraries() -> None:
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else name.name
        for node in ast.walk(ast.parse(example()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime", "tokenizers"}


def test_the_example_decodes_a_bundle(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_example(tiny_bundle.path)
    for index in (0, 2):  # The German one is too long for the oracle, which never cuts.
        adapter, text = names["items"][index]
        np.testing.assert_allclose(
            names["vectors"][index], expected_embedding(text, adapter), atol=1e-5
        )
    printed = [float(number) for number in re.findall(r"-?[0-9]\.[0-9]*", capsys.readouterr().out)]
    cosines = names["vectors"] @ names["vectors"].T
    np.testing.assert_allclose(np.reshape(printed, (3, 3)), cosines, atol=0.0051)
    # Every adapter of a text in one batch of different lengths.
    items = [
        ("phrase", "red cat"),
        ("paragraph", "the cat sat on the mat. le chat."),
        ("sentence", "dog"),
    ]
    expected = np.stack([expected_embedding(text, adapter) for adapter, text in items])
    np.testing.assert_allclose(names["embed"](items), expected, atol=1e-5)


def test_the_example_cuts_at_the_adapters_limit(tiny_bundle: Bundle) -> None:
    embed = run_example(tiny_bundle.path)["embed"]
    # 8 tokens for a phrase, [CLS] and [SEP] included; the tokenizer's file says 12.
    longer, limit, shorter = (
        ("phrase", " ".join(["cat"] * 5 + words))
        for words in (
            ["dog", "red", "mat"],
            ["dog"],
            [],
        )
    )
    vectors = embed([longer, limit, shorter])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.abs(vectors[1] - vectors[2]).max() > 1e-3


@pytest.mark.parametrize("damage", ["version", "extra", "missing", "byte"])
def test_the_example_refuses_damage(tiny_bundle: Bundle, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "b"
    shutil.copytree(tiny_bundle.path, path)
    if damage == "version":
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        (path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 3}))
    elif damage == "extra":
        (path / "extra").write_bytes(b"")
    elif damage == "missing":
        (path / "MODEL_CARD.md").unlink()
    else:
        (path / "MODEL_CARD.md").write_bytes(b"!" + (path / "MODEL_CARD.md").read_bytes()[1:])
    with pytest.raises(SystemExit):
        run_example(path)


def fields_of_table(heading: str) -> list[str]:
    """The first column of the table that follows `heading`."""
    table = (
        README.split(heading, 1)[1].split("| Field | Type | Meaning |\n", 1)[1].split("\n\n", 1)[0]
    )
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_tables_list_the_fields_in_their_order() -> None:
    assert fields_of_table("## The manifest") == [*Manifest.model_fields]
    assert fields_of_table("Each object of `adapters`") == [*Adapter.model_fields]
    assert fields_of_table("`token_layer`, where") == [*TokenLayer.model_fields]
    assert fields_of_table("Each object of `measured`") == [*LayerErrors.model_fields]
    assert fields_of_table("Each object of `fidelity`") == [*Fidelity.model_fields]


def test_the_page_is_of_the_version_that_the_code_reads() -> None:
    assert README.startswith(f"# The bundle format, version {FORMAT_VERSION}\n")
