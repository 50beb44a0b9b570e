"""A benchmark compares what it says it compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from benchmarks import fidelity, runtimes
from benchmarks.adapters import _inputs, _session, main, with_one_adapter
from models.bundle import Bundle
from tests.tiny_bundle import BOTTLENECK, DIMENSION, WORDS
from tests.tiny_training import write_table
from training.corpora.rows import Row


def test_the_fixed_graph_is_the_first_adapter_for_all_rows(tiny_bundle: Bundle) -> None:
    graph = onnx.load(str(tiny_bundle.graph()))
    feed = _inputs(5, 4, tiny_bundle.manifest.vocabulary_size, 3)
    mixed = _session(graph, 1).run(["embedding"], feed)[0]
    adapter_ids = feed.pop("adapter_ids")
    fixed = _session(with_one_adapter(graph), 1).run(["embedding"], feed)[0]
    np.testing.assert_allclose(fixed[adapter_ids == 0], mixed[adapter_ids == 0], atol=1e-6)
    assert np.abs(fixed[adapter_ids != 0] - mixed[adapter_ids != 0]).max() > 1e-3


def test_a_graph_without_adapters_is_refused(tiny_bundle: Bundle) -> None:
    fixed = with_one_adapter(onnx.load(str(tiny_bundle.graph())))
    with pytest.raises(ValueError, match="no gather takes adapter_ids"):
        with_one_adapter(fixed)


def test_it_prints_a_row_for_each_shape(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.adapters.SHAPES", ((1, 4), (2, 8)))
    arguments = ["--bundle", str(tiny_bundle.path), "--rounds", "3", "--threads", "1"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    lines = result.output.splitlines()
    assert lines[0].startswith("tiny ")
    assert [line.split(" |")[0] for line in lines[3:]] == ["| 1 x 4", "| 2 x 8"]


def test_operations_are_those_of_the_toys_matrix_products(tiny_bundle: Bundle) -> None:
    rows, tokens = 3, 7
    states = rows * tokens * DIMENSION
    attention = 2 * (2 * tokens * states)  # scores, and what they mix
    adapter = 2 * (2 * BOTTLENECK * states)  # down and up
    assert runtimes.operations(tiny_bundle, rows, tokens) == attention + adapter


def test_every_way_that_runs_here_is_timed(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "SHAPES", ((2, 4),))
    monkeypatch.setattr(runtimes, "SIZE", 8)
    arguments = ["--bundle", str(tiny_bundle.path), "--rounds", "3", "--threads", "1"]
    result = CliRunner().invoke(runtimes.main, arguments, catch_exceptions=False)
    rows = [line for line in result.output.splitlines() if line.startswith("| o")]
    assert rows[0].startswith("| onnxruntime float32 on cpu | ")
    assert all(row.endswith("% |") for row in rows)
    assert "left out: runtime openvino precision int8" in result.output


def test_the_fidelity_of_every_way_that_runs_here_is_printed(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    rows = [
        Row(str(number), "made", "CC0", granularity, language, f"{word} {WORDS[number % 5]}")
        for number, word in enumerate(WORDS)
        for granularity in ("phrase", "sentence", "paragraph")
        for language in ("en", "fr", "de")
    ]
    table = write_table(tmp_path / "corpus.parquet", rows)
    arguments = ["--bundle", str(tiny_bundle.path), "--corpus", str(table), "--texts", "30"]
    arguments += ["--threads", "1"]
    result = CliRunner().invoke(fidelity.main, arguments, catch_exceptions=False)
    lines = [line for line in result.output.splitlines() if not line.startswith("left out: ")]
    assert lines[-1].startswith("float32 in onnxruntime on cpu: cosine 1.00000, worst 1.00000;")
    assert "30 texts: may be the default" in lines[-1]
    assert "left out: runtime openvino precision int8" in result.output
