"""The short form of `python -m benchmarks.jobs`, and proof that it would notice a difference."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks import jobs
from benchmarks.jobs import Run, main
from models.bundle import Bundle
from tests.tiny_bundle import WORDS


def test_a_killed_server_gives_the_same_bytes(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "words_of", lambda tokenizer: list(WORDS))
    arguments = ["--bundle", str(tiny_bundle.path), "--threads", "1"]
    arguments += ["align", "--rows", "300", "--kills", "1"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    calm, killed = result.output.splitlines()[3:5]
    assert calm.startswith("| in peace | 600 |")
    assert calm.split(" | ")[-1] == killed.split(" | ")[-1]


def test_results_that_differ_are_told(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sums = map(str, itertools.count())

    def run(*arguments: Any) -> Run:  # noqa: ANN401
        return Run(next(sums), 1, 1.0, 1, 0)

    monkeypatch.setattr(jobs, "run_job", run)
    with pytest.raises(click.ClickException, match="differ"):
        jobs._compare(tiny_bundle.path, [tmp_path, tmp_path], 1, ["a", "b"], 2)
