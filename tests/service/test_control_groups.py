"""A container's limits, from files as the kernel writes them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from service.control_groups import cpu_quota, memory_bytes

INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def hierarchy(folder: Path, place: str, limits: dict[str, str], name: str) -> tuple[Path, Path]:
    """Groups of which those in `limits` have them in the file `name`, and a process at `place`."""
    groups = folder / "cgroups"
    for group, text in limits.items():
        (groups / group).mkdir(parents=True, exist_ok=True)
        (groups / group / name).write_text(f"{text}\n")
    own = folder / "own"
    own.write_text(f"1:cpu:/elsewhere\n0::{place}\n")
    return groups, own


@pytest.mark.parametrize(
    ("place", "limits", "cores"),
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
    tmp_path: Path, place: str, limits: dict[str, str], cores: float
) -> None:
    assert cpu_quota(*hierarchy(tmp_path, place, limits, "cpu.max")) == cores


@pytest.mark.parametrize(
    ("limits", "memory"),
    [
        ({}, INSTALLED),
        ({"a": "max", "a/b": "max"}, INSTALLED),
        ({"a": "max", "a/b": "500000"}, 500_000),
        ({"a": "400000", "a/b": "500000"}, 400_000),
        ({"a": str(2 * INSTALLED)}, INSTALLED),
    ],
)
def test_memory_is_what_the_groups_and_the_machine_leave(
    tmp_path: Path, limits: dict[str, str], memory: int
) -> None:
    assert memory_bytes(*hierarchy(tmp_path, "/a/b", limits, "memory.max")) == memory


def test_no_hierarchy_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") == math.inf
    (tmp_path / "own").write_text("4:cpu:/docker/abc\n")
    assert cpu_quota(tmp_path, tmp_path / "own") == math.inf
    assert memory_bytes(tmp_path, tmp_path / "own") == INSTALLED
