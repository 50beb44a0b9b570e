"""Cores under a container's quota, and what a runtime must not do behind our back."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.encoding.session import available_cores, machine
from service.encoding.session.machine import cpu_quota


def hierarchy(folder: Path, place: str, quotas: dict[str, str]) -> float:
    """The quota of a process at `place`, where the groups in `quotas` have these limits."""
    cgroups = folder / "cgroups"
    for group, text in quotas.items():
        (cgroups / group).mkdir(parents=True, exist_ok=True)
        (cgroups / group / "cpu.max").write_text(f"{text}\n")
    own = folder / "own"
    own.write_text(f"1:cpu:/elsewhere\n0::{place}\n")
    return cpu_quota(cgroups, own)


@pytest.mark.parametrize(
    ("place", "quotas", "cores"),
    [
        ("/", {}, math.inf),
        ("/", {"": "max 100000"}, math.inf),
        ("/", {"": "250000 100000"}, 2.5),
        ("/a/b", {"a/b": "max 100000", "a": "50000 100000"}, 0.5),
        ("/a/b", {"a/b": "100000 50000", "a": "300000 100000"}, 2.0),
        ("/a/b", {"other": "100000 100000"}, math.inf),
        ("/", {"": "nonsense"}, math.inf),
    ],
)
def test_the_tightest_group_on_the_way_up_decides(
    tmp_path: Path, place: str, quotas: dict[str, str], cores: float
) -> None:
    assert hierarchy(tmp_path, place, quotas) == cores


def test_no_hierarchy_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") == math.inf
    (tmp_path / "own").write_text("4:cpu:/docker/abc\n")
    assert cpu_quota(tmp_path, tmp_path / "own") == math.inf


@pytest.mark.parametrize(("quota", "cores"), [(math.inf, 4), (8.0, 4), (2.9, 2), (0.3, 1)])
def test_cores_are_bounded_by_the_quota_and_never_none(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda cgroups, own: quota)
    assert available_cores() == cores


# openvino's own package for it, imported, would write below the home folder and send an event.
_NO_REPORT = """
import sys
from service.encoding.session.on_openvino import cpu_capabilities
assert cpu_capabilities()
assert sys.modules["openvino_telemetry"] is None
"""


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    # It is quiet by itself where it believes to be in somebody's CI.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    subprocess.run(
        [sys.executable, "-c", _NO_REPORT],
        env=environment | {"HOME": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        check=True,
        timeout=120,
    )
    assert list(tmp_path.iterdir()) == []
