"""The manifest and the unit that docs/deployment.md shows agree with the image and the service."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
DRAIN_S = Settings.model_fields["shutdown_timeout_s"].default
STATE = "/var/lib/polygrain"


def block(language: str, start: str) -> str:
    (found,) = re.findall(rf"```{language}\n({start}.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_manifest_of_kubernetes() -> None:
    pod: dict[str, Any] = yaml.safe_load(block("yaml", "apiVersion"))["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["terminationGracePeriodSeconds"] > DRAIN_S + 10
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    (port,) = container["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    assert {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness")} == {
        "/readyz"
    }
    # One that is busy or stops in order must not be killed for it.
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"state": STATE, "tmp": "/tmp"}
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts)


def test_the_unit_of_systemd() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini", r"\[Unit\]"))
    service = unit["Service"]
    assert service["ExecStart"].endswith(".venv/bin/polygrain serve")
    assert service.getint("TimeoutStopSec") > DRAIN_S + 10
    assert f"/var/lib/{service['StateDirectory']}" == STATE
    assert f"POLYGRAIN_STATE_DIR={STATE}" in service["Environment"].split()


def test_files_that_are_named_are_there() -> None:
    named = set(re.findall(r"`(deploy/[\w./-]+\.\w+)`", TEXT))
    assert {"deploy/metrics.txt", "deploy/prometheus/alerts.yml"} <= named
    for file in named:
        assert (REPOSITORY / file).is_file(), file


def test_make_targets_that_are_named_are_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake (image|lock|install|serve)\b", TEXT)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
