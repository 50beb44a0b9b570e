"""The locks pin all that an image installs, to what pyproject.toml allows, by PyPI's hashes."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
LOCKS = REPOSITORY / "deploy" / "locks"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]

# What the image is, for the markers of requirements.
IMAGE = {
    "extra": "",
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}

_PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>\S+)(?P<rest>( \\\n    \S+)*)")
_HASH = re.compile(r" \\\n    --hash=sha256:[0-9a-f]{64}")


def pins(lock: str) -> dict[str, Version]:
    """The versions of a lock by name; every line of it must be a comment, a pin or a hash."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: dict[str, Version] = {}
    for block in re.split(r"\n(?=\S)", bare.strip()):
        pin = _PIN.fullmatch(block)
        assert pin, f"no pin with hashes: {block[:200]}"
        assert pin["rest"], f"{pin['name']} has no hash"
        assert _HASH.sub("", pin["rest"]) == ""
        found[canonicalize_name(pin["name"])] = Version(pin["version"])
    return found


def unmet(requirements: list[str], lock: dict[str, Version]) -> list[str]:
    """The requirements of the image that a lock does not fulfil."""
    wanted = [Requirement(each) for each in requirements]
    return [
        str(each)
        for each in wanted
        if (each.marker is None or each.marker.evaluate(IMAGE))
        and not (
            (version := lock.get(canonicalize_name(each.name)))
            and each.specifier.contains(version, prereleases=True)
        )
    ]


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_a_lock_fulfils_the_project(extra: str) -> None:
    requirements = PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]
    lack = unmet(requirements, pins(extra))
    assert not lack, f"deploy/locks/{extra}.txt lacks {lack}; run `make lock`"


def test_the_build_lock_fulfils_the_build_system() -> None:
    requires = PYPROJECT["build-system"]["requires"]
    assert (LOCKS / "build.in").read_text(encoding="utf-8").split() == requires
    assert unmet(requires, pins("build")) == []


def test_what_is_unmet_is_seen() -> None:
    lock = {"numpy": Version("2.1"), "click": Version("9.0")}
    assert unmet(["numpy>=2.1,<3", "colorama; sys_platform == 'win32'"], lock) == []
    assert unmet(["click>=8,<9", "orjson"], lock) == ["click<9,>=8", "orjson"]


@pytest.mark.parametrize("lock", ["cpu", "gpu", "build"])
def test_a_lock_names_no_index_and_no_file(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--find-links|--trusted|@ |file:|/opt/|\+cpu", text)


def test_no_image_installs_torch_and_each_has_one_runtime() -> None:
    heavy = {"torch", "transformers", "adapters"}
    cpu, gpu = pins("cpu"), pins("gpu")
    assert not heavy & (set(cpu) | set(gpu))
    assert "onnxruntime" in cpu
    assert "onnxruntime-gpu" not in cpu
    assert "onnxruntime-gpu" in gpu
    assert not {"onnxruntime", "openvino"} & set(gpu)


def test_constraints_give_their_reason_and_hold() -> None:
    lines = (LOCKS / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        if not line.startswith("#"):
            assert before.startswith("# ")
            constraint = Requirement(line)
            for lock in ("cpu", "gpu", "build"):
                version = pins(lock).get(canonicalize_name(constraint.name))
                assert version is None or constraint.specifier.contains(version)
