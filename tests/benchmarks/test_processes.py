"""Processes are counted, paused and ended with all their children."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serve import processes
from benchmarks.serve.processes import (
    Process,
    ServerFailed,
    Worker,
    ask,
    first_answer,
    free_port,
)
from benchmarks.usage import Tree
from tests.benchmarks.fake_server import FakeServer
from tests.waiting import wait_until


def _python(tmp_path: Path, program: str) -> Process:
    return Process("program", (sys.executable, "-c", program), {}, tmp_path / "log")


def _lines(process: Process) -> list[str]:
    return process.log.read_text().splitlines()


def test_cpu_seconds_are_those_that_the_processes_themselves_count(tmp_path: Path) -> None:
    """A child burns, a grandchild burns, and one that has ended has burnt: all three count."""
    program = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass\\n"
burn += "print(time.process_time(), flush=True)\\n"
subprocess.run([sys.executable, "-c", burn])
stays = subprocess.Popen([sys.executable, "-c", burn + "time.sleep(60)"])
exec(burn)
time.sleep(60)
"""
    with _python(tmp_path, program) as process:
        wait_until(lambda: len(_lines(process)) == 3)
        counted = process.tree.cpu_s()
        own = sum(map(float, _lines(process)))
        # Whole ticks of three processes on our side; interpreters that end and print on theirs.
        assert counted == pytest.approx(own, abs=0.15)
        assert len(process.tree.pids()) == 2
    # The system takes an orphan away in its own time.
    wait_until(lambda: process.tree.pids() == [])


def test_this_process_finds_its_own_cpu_seconds() -> None:
    """The session of the test run holds this process, and maybe what started it."""
    while time.process_time() < 0.1:
        pass
    own = time.process_time()
    assert Tree(os.getsid(0)).cpu_s() >= own - 0.05


def test_peak_memory_outlives_what_was_freed(tmp_path: Path) -> None:
    program = """
import time
def status(key): return next(l for l in open("/proc/self/status") if l.startswith(key)).split()[1]
block = bytearray(b"x" * 60_000_000)
del block
print(status("VmHWM:"), status("VmRSS:"), flush=True)
time.sleep(60)
"""
    with _python(tmp_path, program) as process:
        wait_until(lambda: len(_lines(process)) == 1)
        memory = process.tree.memory()
        peak, resident = (int(value) * 1024 for value in _lines(process)[0].split())
    assert memory.peak_resident == peak > 60_000_000
    assert 0 < memory.proportional <= resident + 1_000_000 < peak


def test_pages_that_two_share_count_once_in_the_fair_sum(tmp_path: Path) -> None:
    program = """
import os, time
block = bytearray(b"x" * 60_000_000)
if os.fork() == 0:
    print("forked", flush=True)
time.sleep(60)
"""
    with _python(tmp_path, program) as process:
        wait_until(lambda: len(_lines(process)) == 1)
        memory = process.tree.memory()
    assert memory.peak_resident > 120_000_000 > memory.proportional > 60_000_000


def test_a_paused_process_uses_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    with _python(tmp_path, "print('up', flush=True)\nwhile True: pass") as process:
        wait_until(lambda: len(_lines(process)) == 1)
        process.pause()
        wait_until(lambda: _state(process) == "T")
        before = process.tree.cpu_s()
        time.sleep(0.2)
        assert process.tree.cpu_s() == before
        process.resume()
        wait_until(lambda: process.tree.cpu_s() > before)


def _state(process: Process) -> str:
    text = Path(f"/proc/{process.popen.pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def test_one_that_ignores_sigterm_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_TIMEOUT_S", 0.2)
    program = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("deaf", flush=True)
time.sleep(60)
"""
    process = _python(tmp_path, program)
    wait_until(lambda: len(_lines(process)) == 2)
    assert len(process.tree.pids()) == 2
    process.stop()
    assert process.popen.returncode == -signal.SIGKILL
    wait_until(lambda: process.tree.pids() == [])


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    process = _python(tmp_path, "print('no such file'); raise SystemExit(3)")
    with process, pytest.raises(ServerFailed, match=r"program ended with status 3; .*log"):
        first_answer(process, free_port(), b"")
    assert _lines(process) == ["no such file"]


def test_the_first_answer_is_the_first_that_is_no_refusal(tmp_path: Path) -> None:
    statuses = iter([503, 503, 200])

    async def warming(body: bytes) -> tuple[int, bytes]:
        return next(statuses), b"ready"

    request = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
    with _python(tmp_path, "import time; time.sleep(60)") as process, FakeServer(warming) as server:
        assert first_answer(process, server.port, request) == b"ready"
    assert len(server.bodies) == 3


def test_a_server_that_never_answers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 0.2)
    with (
        _python(tmp_path, "import time; time.sleep(60)") as process,
        pytest.raises(ServerFailed, match="program gave no answer"),
    ):
        first_answer(process, free_port(), b"")


def test_ask_asks_the_server_to_close_and_reads_all() -> None:
    async def many(body: bytes) -> tuple[int, bytes]:
        return 200, body * 100_000

    with FakeServer(many) as server:
        assert ask(server.port, b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab") == (
            200,
            b"ab" * 100_000,
        )


def test_a_worker_answers_tasks_until_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Worker("adder", "tests.benchmarks.adder", log, ["5"], {"ADDER_UNIT": "apples"}) as worker:
        assert worker.ask({"number": 2}) == {"sum": 7, "unit": "apples"}
        assert worker.ask({"number": -5}) == {"sum": 0, "unit": "apples"}
        with pytest.raises(ServerFailed, match="adder ended without an answer"):
            worker.ask({"no": "number"})
    assert "KeyError" in log.read_text()
