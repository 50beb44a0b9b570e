"""What processes use, as the kernel counts it: CPU time and memory. Linux only."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def bytes_of(pid: int | str, file: str, key: str) -> int:
    """What /proc/PID/`file` (status or smaps_rollup) says in kilobytes after `key`, in bytes.

    `pid` may be "self". Raises FileNotFoundError where the process has ended or this is not Linux,
    KeyError where it is not told.
    """
    for line in (_PROC / str(pid) / file).read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the processes of a tree hold, in bytes."""

    # Sum of each process's own peak; pages that they share count once for each.
    peak_resident: int
    # Now, with shared pages divided among those that share them.
    proportional: int


class Tree:
    """All processes of the session that `leader` began, children of children included."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def pids(self) -> list[int]:
        """The processes that live now."""
        return [
            int(folder.name)
            for folder in _PROC.iterdir()
            if folder.name.isdigit() and _session(int(folder.name)) == self.leader
        ]

    def cpu_s(self) -> float:
        """CPU seconds so far, in user and kernel, with those of children that have ended."""
        ticks = 0
        for pid in self.pids():
            fields = _stat(pid)
            # utime, stime, cutime, cstime
            ticks += sum(map(int, fields[11:15])) if fields else 0
        return ticks / _TICKS_PER_S

    def memory(self) -> Memory:
        """What the processes that live now hold and have held."""
        pids = self.pids()
        return Memory(
            sum(_bytes_if_alive(pid, "status", "VmHWM") for pid in pids),
            sum(_bytes_if_alive(pid, "smaps_rollup", "Pss") for pid in pids),
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to each process."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from the state on; empty once it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name stands in brackets and may itself hold brackets and spaces.
    return text.rpartition(")")[2].split()


def _session(pid: int) -> int:
    fields = _stat(pid)
    # state, parent, group, session
    return int(fields[3]) if fields and fields[0] != "Z" else -1


def _bytes_if_alive(pid: int, file: str, key: str) -> int:
    try:
        return bytes_of(pid, file, key)
    except (FileNotFoundError, ProcessLookupError):
        return 0
