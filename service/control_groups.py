"""What a container leaves to this process: the limits of its Linux control groups, version 2.

`groups` is where the hierarchy is mounted, `own` tells the place in it, as `/proc/self/cgroup`
does. A limit is that of the tightest group on the way up, infinite where nothing limits it or there
is no such hierarchy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cpu_quota(groups: Path = GROUPS, own: Path = OWN) -> float:
    """How many cores' worth of time this process gets."""
    return _tightest("cpu.max", _quota, groups, own)


def memory_bytes(groups: Path = GROUPS, own: Path = OWN) -> float:
    """How much memory this process may take: its limit, or all that the machine has."""
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # another system than Linux
        installed = 0
    return min(installed or math.inf, _tightest("memory.max", int, groups, own))


def _tightest(name: str, parse: Callable[[str], float], groups: Path, own: Path) -> float:
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    place = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if place is None:
        return math.inf
    group = PurePosixPath(place)
    return min(_limit(groups / each / name, parse) for each in (group, *group.parents))


def _limit(file: Path, parse: Callable[[str], float]) -> float:
    try:
        return parse(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # `max` is no number either
        return math.inf


def _quota(text: str) -> float:
    """What a `cpu.max` allows: `MICROSECONDS PERIOD`."""
    quota, period = text.split()
    return int(quota) / int(period)
