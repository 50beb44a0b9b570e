"""The measurements that pages name within their text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.pages.documented import PAGES as ALL_PAGES
from tests.e2e.pages.shell import type_in
from tests.running_service import ROOT

# Those that end soon where the corpora are small, and a line of what they then print.
_RUN = {
    ("docs/api.md", "python -m benchmarks.quantization --data DATA"): "| 384, float32 | 1536 |",
    ("docs/collections.md", "python -m benchmarks.search_quality --data DATA"): "| de |",
}
# The others take minutes, and some of them corpora that are no part of the repository: where
# each is run in small, or what it is made of.
_IN_SMALL = {
    "alignment": "tests/benchmarks/test_alignment.py",
    "alignment_quality": "tests/benchmarks/test_alignment.py",
    "engine": "tests/benchmarks/test_engine.py",
    "fidelity": "tests/test_benchmarks.py",
    "jobs": "tests/benchmarks/test_jobs.py",
    "mining": "tests/test_mining_benchmark.py",
    "router": "tests/service/encoding/routing/test_weights.py",
    "runtimes": "tests/test_benchmarks.py",
    "serve": "tests/benchmarks/test_serve.py",
    "shared_weights": "tests/test_edge_benchmarks.py",
    "soak": "tests/benchmarks/test_soak.py",
}


@pytest.mark.parametrize(("page", "command"), _RUN)
def test_a_measurement_runs_as_it_is_written(
    page: str, command: str, things: Mapping[str, Path], tmp_path: Path
) -> None:
    assert f"`{command}`" in (ROOT / page).read_text(encoding="utf-8")
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA/eval").symlink_to(things["test sets"])
    printed = type_in([command], tmp_path, PYTHONPATH=str(ROOT))
    assert _RUN[page, command] in printed


def test_every_other_is_run_in_small() -> None:
    named = set()
    for page in ALL_PAGES:
        named |= set(re.findall(r"`python -m benchmarks\.(\w+)", (ROOT / page).read_text("utf-8")))
    here = {command.split()[2].removeprefix("benchmarks.") for _, command in _RUN}
    assert named == here | set(_IN_SMALL)
    for name, file in _IN_SMALL.items():
        assert re.search(
            rf"from benchmarks(\.{name}\b| import .*\b{name}\b)", (ROOT / file).read_text("utf-8")
        ), file
