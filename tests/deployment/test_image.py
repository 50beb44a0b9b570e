"""The Dockerfile and its .dockerignore: what goes in, who runs, how it is watched."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile, its continued lines joined."""

    word: str
    rest: str


def stages() -> dict[str, list[Step]]:
    """The instructions of each stage by its name, the FROM itself first."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    found: dict[str, list[Step]] = {}
    current: list[Step] = []
    for line in joined.splitlines():
        word, rest = line.split(" ", 1)
        if word == "FROM":
            current = found[rest.rsplit(" AS ")[1]] = []
        current.append(Step(word, rest))
    return found


STAGES = stages()


def lineage(target: str) -> list[Step]:
    """The instructions that make a target, those of the stages that it stands on first."""
    steps = STAGES[target]
    parent = steps[0].rest.split(" AS ")[0]
    return (lineage(parent) if parent in STAGES else []) + steps


def last(target: str, word: str) -> str:
    return [step.rest for step in lineage(target) if step.word == word][-1]


def environment(target: str) -> dict[str, str]:
    settings = [step.rest.split() for step in lineage(target) if step.word == "ENV"]
    return dict(pair.split("=", 1) for pairs in settings for pair in pairs)


TARGETS = ["cpu", "gpu"]


def test_the_targets_are_there_and_cpu_is_the_default() -> None:
    assert set(TARGETS) <= set(STAGES)
    assert list(STAGES)[-1] == "cpu"


@pytest.mark.parametrize("target", TARGETS)
def test_a_user_without_rights_runs_the_service(target: str) -> None:
    assert last(target, "USER") == "10001:10001"
    assert json.loads(last(target, "ENTRYPOINT")) == ["polygrain"]
    assert json.loads(last(target, "CMD")) == ["serve"]
    # After USER nothing runs that could change a file of root's.
    words = [step.word for step in lineage(target)]
    assert "RUN" not in words[words.index("USER") :]


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_state_is_written(target: str) -> None:
    state = environment(target)["POLYGRAIN_STATE_DIR"]
    assert last(target, "VOLUME") == state == last(target, "WORKDIR")
    made = " ".join(step.rest for step in lineage(target) if step.word == "RUN")
    assert f"--owner 10001 --group 10001 --mode 0700 {state}" in made
    assert f"--home-dir {state}" in made
    assert environment(target)["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("target", TARGETS)
def test_what_ships_has_no_compiler_and_no_pip(target: str) -> None:
    runs = [step.rest for step in lineage(target) if step.word == "RUN"]
    (installs,) = [each for each in runs if "apt-get install" in each]
    (packages,) = re.findall(r"install --yes --no-install-recommends ([^&]+?) &&", installs)
    assert packages == "python3"
    assert not any("pip" in each for each in runs)
    for step in lineage(target):
        source = re.match(r"--from=(\S+) ", step.rest) if step.word == "COPY" else None
        if source is not None:
            made = " ".join(each.rest for each in STAGES[source[1]] if each.word == "RUN")
            assert "pip install" not in made or "pip uninstall --yes pip setuptools" in made


@pytest.mark.parametrize("target", TARGETS)
def test_packages_come_by_hash_as_wheels(target: str) -> None:
    runs = [step.rest for step in STAGES[f"packages-{target}"] if step.word == "RUN"]
    assert f"pip install --require-hashes --no-deps -r locks/{target}.txt" in runs[0]
    assert environment(f"packages-{target}")["PIP_ONLY_BINARY"] == ":all:"
    fetched = [
        step.rest
        for steps in STAGES.values()
        for step in steps
        if "pip install" in step.rest and "--no-index" not in step.rest
    ]
    assert len(fetched) == 3
    for run in fetched:
        assert "--require-hashes" in run
        # An index's address and certificate are lent for one step and stay in no layer.
        assert "--mount=type=secret,id=pip.conf,target=/etc/pip.conf" in run
        assert "--mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt" in run


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_watched_without_curl(target: str) -> None:
    options, command = last(target, "HEALTHCHECK").split("CMD ")
    assert json.loads(command) == ["python3", "-I", "-S", "/opt/polygrain/healthcheck.py"]
    assert "--timeout=" in options
    copied = [step.rest for step in STAGES["application"] if step.word == "COPY"]
    assert "deploy/healthcheck.py ./" in copied


def test_the_gpu_is_asked_for_by_name() -> None:
    given = environment("gpu")
    assert given["POLYGRAIN_DEVICE"] == "cuda"
    assert given["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert "POLYGRAIN_DEVICE" not in environment("cpu")


def copied_from_the_checkout() -> set[str]:
    steps = [step for each in STAGES.values() for step in each if step.word == "COPY"]
    return {
        source
        for step in steps
        if not step.rest.startswith("--from=")
        for source in step.rest.split()[:-1]
    }


def test_what_is_copied_is_there_and_is_all_that_is_let_in() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = copied_from_the_checkout()
    for source in copied:
        assert list(REPOSITORY.glob(source)), f"there is no {source}"
        assert any(f"{source}/".startswith(f"{each}/") for each in let_in), source
    for each in let_in:
        assert any(f"{source}/".startswith(f"{each}/") for source in copied), each
    # Once let in, caches are kept out again: what comes last decides.
    assert patterns[-3:] == ["**/__pycache__", "**/*.pyc", "**/.*"]


def test_the_shipped_bundle_is_inside_where_the_service_looks() -> None:
    from models.bundle import DEFAULT_BUNDLE

    place = DEFAULT_BUNDLE.relative_to(REPOSITORY).as_posix()
    assert f"{place} {place}" in [step.rest for step in STAGES["bundle"] if step.word == "COPY"]
