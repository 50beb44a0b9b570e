"""The Makefile's own words; what it installs is tested by using it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # These tests may themselves run under make, whose variables are not for this one.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder as `git clone` leaves it, as far as the Makefile looks before it installs."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The only line that is ours; make adds its own, which begins with `make: ***`."""
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("make: *** ")]
    return line


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("arguments", [(), ("help",)])
def test_help_lists_the_targets(clone: Path, arguments: tuple[str, ...]) -> None:
    result = make(clone, *arguments)
    assert result.returncode == 0
    listed = re.findall(r"^make (\w+) +\w", result.stdout, re.MULTILINE)
    assert sorted(listed) == ["bench", "fix", "help", "image", "install", "lock", "serve", "test"]
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("target", ["install", "serve", "test", "fix", "bench", "lock"])
def test_no_python(clone: Path, target: str) -> None:
    line = refusal(make(clone, target, "PYTHON=/nonexistent", "DATA=."))
    assert line == (
        f"make {target}: no program /nonexistent here; install Python 3.11 or newer, or name one: "
        f"make {target} PYTHON=/path/to/python"
    )
    assert not (clone / ".venv").exists()


def test_a_python_that_does_not_run(clone: Path) -> None:
    broken = program(clone / "broken", "exit 1")
    assert f"{broken} does not run" in refusal(make(clone, "install", f"PYTHON={broken}"))


def test_an_old_python(clone: Path) -> None:
    old = program(clone / "old", 'case "$*" in *print*) echo 3.9;; *) exit 1;; esac')
    line = refusal(make(clone, "install", f"PYTHON={old}"))
    assert f"{old} is Python 3.9; name one that is 3.11 or newer" in line


def test_a_python_without_venv(clone: Path) -> None:
    bare = program(
        clone / "bare", 'case "$*" in *print*) echo 3.12;; *ensurepip*) exit 1;; *) exit 0;; esac'
    )
    line = refusal(make(clone, "install", f"PYTHON={bare}"))
    assert "has no venv and ensurepip modules" in line
    assert "python3.12-venv" in line


def test_bench_says_that_it_needs_data(clone: Path) -> None:
    assert "make bench DATA=FOLDER" in refusal(make(clone, "bench"))
    assert "make bench DATA=FOLDER" in refusal(make(clone, "bench", "DATA=/nonexistent"))


# Stands for Python, venv and pip: `-m venv` puts it into the folder, `-m pip` writes down what it
# was asked for and ends as told.
FAKE_PYTHON = """
case "$*" in
  *print*) echo 3.12 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> log ;;
  "-m pip "*) echo "$*" >> log; exit $(cat pip-status) ;;
esac
"""
VENV = "venv"
PIP = "-m pip install --disable-pip-version-check -q -e "


@pytest.fixture
def python(clone: Path) -> str:
    (clone / "pip-status").write_text("0")
    return f"PYTHON={program(clone / 'fake', FAKE_PYTHON)}"


def done(clone: Path) -> list[str]:
    """What was made and installed since the last call."""
    log = clone / "log"
    if not log.exists():
        return []
    lines = log.read_text().splitlines()
    log.unlink()
    return [line.removeprefix(PIP) for line in lines]


def test_install_does_its_work_once(clone: Path, python: str) -> None:
    assert make(clone, "install", python).returncode == 0
    assert done(clone) == [VENV, ".[cpu]"]
    second = make(clone, "install", python)
    assert (second.returncode, second.stdout, second.stderr, done(clone)) == (0, "", "", [])


def test_a_changed_pyproject_is_installed_into_the_same_venv(clone: Path, python: str) -> None:
    make(clone, "install", python)
    done(clone)
    with (clone / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    make(clone, "install", python)
    assert done(clone) == [".[cpu]"]


def test_testing_adds_the_rest_and_leaves_nothing_to_serving(clone: Path, python: str) -> None:
    make(clone, "install", python)
    assert done(clone) == [VENV, ".[cpu]"]
    assert make(clone, "dev", python).returncode == 0
    assert done(clone) == [".[cpu,training,dev]"]
    assert make(clone, "dev", "install", python).returncode == 0
    assert done(clone) == []


def test_a_failed_pip_is_told_and_tried_again(clone: Path, python: str) -> None:
    (clone / "pip-status").write_text("1")
    failed = make(clone, "install", python)
    assert failed.returncode == 2
    assert "make install: pip could not install what serving needs" in failed.stderr
    (clone / "pip-status").write_text("0")
    done(clone)
    assert make(clone, "install", python).returncode == 0
    assert done(clone) == [".[cpu]"]


@pytest.mark.parametrize("damage", ["interrupted", "emptied", "python gone", "moved"])
def test_a_broken_venv_is_made_again(clone: Path, python: str, damage: str) -> None:
    make(clone, "install", python)
    done(clone)
    if damage == "interrupted":
        (clone / ".venv" / "incomplete").touch()
    elif damage == "emptied":
        shutil.rmtree(clone / ".venv" / "bin")
    elif damage == "python gone":
        (clone / ".venv" / "bin" / "python").unlink()
        (clone / ".venv" / "bin" / "python").symlink_to("/nonexistent")
    else:
        clone = clone.rename(clone.with_name("moved"))
        python = f"PYTHON={clone / 'fake'}"
    assert make(clone, "install", python).returncode == 0
    assert done(clone) == [VENV, ".[cpu]"]
    assert not (clone / ".venv" / "incomplete").exists()
    assert make(clone, "install", python).returncode == 0
    assert done(clone) == []


def test_a_pip_that_was_killed_leaves_its_mark(clone: Path, python: str) -> None:
    fake = (clone / "fake").read_text().replace("exit $(cat pip-status)", "kill -9 $PPID")
    (clone / "fake").write_text(fake)
    assert make(clone, "install", python).returncode == 2
    assert (clone / ".venv" / "incomplete").exists()


def test_what_serve_is_told_reaches_the_service(clone: Path) -> None:
    plain = make(clone, "-n", "serve").stdout
    assert not re.search(r"--(host|port|bundle)", plain)
    told = make(clone, "-n", "serve", "HOST=0.0.0.0", "PORT=9000", "BUNDLE=my bundle").stdout
    assert "--host '0.0.0.0' --port '9000' --bundle 'my bundle'" in told


def test_ci_runs_make_test() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert script.endswith("exec make test\n")
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
