"""Cores under a container's quota, and what a runtime must not do behind our back."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.encoding.session import available_cores, machine


@pytest.mark.parametrize(("quota", "cores"), [(math.inf, 4), (8.0, 4), (2.9, 2), (0.3, 1)])
def test_cores_are_bounded_by_the_quota_and_never_none(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
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
