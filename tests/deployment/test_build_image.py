"""`make image` takes the builder that answers, and says what to do where none does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# A builder that answers questions and writes down, one a line, what it is told to build with.
WORKING = """#!/bin/sh
case "$1" in info|--version) exit 0 ;; esac
printf '%s\\n' "${0##*/}" "$@" > told
"""
# Docker's client without its daemon.
DEAF = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "deploy/build-image"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "make", "sed", "awk"):
        program = shutil.which(name)
        assert program
        (tools / name).symlink_to(program)
    return tmp_path


def put(checkout: Path, **programs: str) -> None:
    for name, script in programs.items():
        (checkout / "tools" / name).write_text(script)
        (checkout / "tools" / name).chmod(0o755)


def image(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", "image", *arguments],
        cwd=checkout,
        env=environment | {"PATH": str(checkout / "tools")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def told(checkout: Path) -> list[str]:
    return (checkout / "told").read_text().splitlines()


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2
    (line,) = [each for each in result.stderr.splitlines() if not each.startswith("make: *** ")]
    return line


@pytest.mark.parametrize(
    ("programs", "taken"),
    [
        ({"docker": WORKING, "podman": WORKING, "buildah": WORKING}, "docker"),
        ({"docker": DEAF, "podman": WORKING, "buildah": WORKING}, "podman"),
        ({"docker": DEAF, "buildah": WORKING}, "buildah"),
    ],
)
def test_the_first_that_answers_builds(
    checkout: Path, programs: dict[str, str], taken: str
) -> None:
    put(checkout, **programs)
    assert image(checkout).returncode == 0
    first, *arguments = told(checkout)
    assert first == taken
    assert arguments[-1] == "."
    # Else the image would lack its health check.
    assert ("--format" in arguments) == (taken != "docker")
    assert arguments[arguments.index("--target") + 1] == "cpu"
    assert "localhost/polygrain:cpu" in arguments
    assert not any("--secret" in each for each in arguments)


def test_what_is_asked_for_reaches_the_builder(checkout: Path) -> None:
    put(checkout, docker=WORKING, buildah=WORKING)
    for name in ("my pip.conf", "my ca.crt"):
        (checkout / name).touch()
    options = ("TARGET=gpu", "ENGINE=buildah", "PIP_CONF=my pip.conf", "CA=my ca.crt")
    assert image(checkout, *options, "IMAGE_FLAGS=--isolation chroot").returncode == 0
    engine, *arguments = told(checkout)
    assert engine == "buildah"
    assert arguments[arguments.index("--target") + 1] == "gpu"
    assert {"id=pip.conf,src=my pip.conf", "id=ca.crt,src=my ca.crt"} <= set(arguments)
    assert arguments[arguments.index("--isolation") + 1] == "chroot"


@pytest.mark.parametrize(
    ("programs", "options", "says"),
    [
        ({"docker": DEAF}, (), "no builder answers here; start docker, or install podman"),
        ({"buildah": WORKING}, ("ENGINE=docker",), "docker does not answer"),
        ({"buildah": WORKING}, ("ENGINE=kaniko",), "use docker, podman or buildah"),
        ({"buildah": WORKING}, ("TARGET=tpu",), "TARGET is tpu; use cpu or gpu"),
        ({"buildah": WORKING}, ("PIP_CONF=nowhere",), "there is no file nowhere"),
    ],
)
def test_what_cannot_be_built_is_refused(
    checkout: Path, programs: dict[str, str], options: tuple[str, ...], says: str
) -> None:
    put(checkout, **programs)
    line = refusal(image(checkout, *options))
    assert line.startswith("make image: ")
    assert says in line
    assert not (checkout / "told").exists()
