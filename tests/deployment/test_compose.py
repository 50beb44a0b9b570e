"""The compose file keeps to the Compose specification, and each service to what we promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yml"
TEXT = FILE.read_text(encoding="utf-8")
SERVICES = ["polygrain-cpu", "polygrain-gpu"]


def dotenv() -> dict[str, str]:
    lines = (REPOSITORY / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(**variables: str) -> dict[str, Any]:
    """The file as compose reads it: `${NAME:-default}` filled in, merge keys carried out."""
    filled = re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], TEXT
    )
    assert "${" not in filled
    read: dict[str, Any] = yaml.safe_load(filled)
    return read


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_is_valid_by_the_specification(tmp_path: Path) -> None:
    filled = tmp_path / "filled.yml"
    filled.write_text(yaml.safe_dump(compose(**dotenv())))
    for path in (FILE, filled):
        result = check_schema(path)
        assert result.returncode == 0, result.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(TEXT.replace("cap_drop: [ALL]", "cap_drop: ALL"))
    assert check_schema(broken).returncode == 1


def test_cpu_starts_by_default_and_every_service_has_a_profile() -> None:
    assert dotenv()["COMPOSE_PROFILES"] == "cpu"
    profiles = {name: each["profiles"] for name, each in compose()["services"].items()}
    assert profiles == {
        "polygrain-cpu": ["cpu"],
        "polygrain-gpu": ["gpu"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_what_may_be_changed_is_used_and_the_other_way_round() -> None:
    offered = {name for name in dotenv() if name != "COMPOSE_PROFILES"}
    used = set(re.findall(r"\$\{(\w+):-", TEXT))
    assert offered <= used
    documented = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    for name in used:
        assert f"`{name}`" in documented, name


@pytest.mark.parametrize("name", list(compose()["services"]))
def test_every_service_is_fenced_in(name: str) -> None:
    service = compose(**dotenv())["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    for port in service["ports"]:
        assert port.startswith("127.0.0.1:"), "nothing is published beyond this machine by itself"
    # Whatever is written goes to memory or to a volume that is declared.
    volumes = [volume.split(":") for volume in service["volumes"]]
    for source, _, *options in volumes:
        assert source in compose()["volumes"] or options == ["ro"]


@pytest.mark.parametrize("name", SERVICES)
def test_the_service_keeps_its_state_and_ends_in_order(name: str) -> None:
    service = compose()["services"][name]
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (state,) = re.findall(r"POLYGRAIN_STATE_DIR=(\S+)", dockerfile)
    assert service["volumes"] == [f"state:{state}"]
    drain_s = Settings.model_fields["shutdown_timeout_s"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > drain_s + 10
    assert service["build"]["target"] == name.removeprefix("polygrain-")
    (port,) = service["ports"]
    assert port.endswith(f":{Settings.model_fields['port'].default}")
    assert service["networks"]["default"]["aliases"] == ["polygrain"]


def test_an_image_of_ours_is_never_looked_for_elsewhere() -> None:
    for name in SERVICES:
        assert compose()["services"][name]["image"].startswith("localhost/")


def test_only_the_gpu_service_reserves_a_gpu() -> None:
    services = compose()["services"]
    (device,) = services["polygrain-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "reservations" not in services["polygrain-cpu"]["deploy"]["resources"]


def test_callers_need_keys_unless_the_file_beside_says_otherwise() -> None:
    for variables, open_to_all in (({}, "False"), (dotenv(), "True")):
        given = compose(**variables)["services"]["polygrain-cpu"]["environment"]
        assert {str(value) for value in given.values()} == {open_to_all}
    assert dotenv()["POLYGRAIN_PUBLISH"].startswith("127.0.0.1:")


def test_secrets_are_not_committed() -> None:
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    for service in SERVICES:
        (file,) = compose()["services"][service]["env_file"]
        assert file["required"] is False
        assert f"/{file['path']}" in ignored


def test_images_of_others_are_pinned() -> None:
    for name in ("prometheus", "grafana"):
        assert re.search(r":v?\d+\.\d+\.\d+$", compose()["services"][name]["image"])
