"""Keys and changes of the bundle, as docs/operations.md tells one to make them."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from tests.e2e.pages.documented import blocks_of
from tests.e2e.pages.shell import type_in
from tests.running_service import PATIENCE_S, service_started_by
from tests.tiny_bundle import write_tiny_bundle

PAGES = ("docs/operations.md",)
_KEYS, _BUNDLE = blocks_of("docs/operations.md")


def test_keys_are_made_listed_and_revoked_and_let_the_service_out(tmp_path: Path) -> None:
    # A service on all addresses starts with keys alone.
    *commands, serve = _KEYS.commands
    printed = type_in(commands, tmp_path)
    listed = [line.split()[0] for line in printed.splitlines()[2:] if line.strip()]
    assert "indexer" in listed
    assert "operator" in listed
    keys = (tmp_path / "keys").read_text(encoding="utf-8")
    assert "operator:admin:" in keys
    assert "indexer:" not in keys
    type_in([serve], tmp_path, POLYGRAIN_KEYS_FILE="keys")


def test_another_bundle_is_served_after_each_way_to_ask_for_it(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    for version in ("1.0", "1.1"):
        write_tiny_bundle(bundles / f"polygrain-mini-{version}", version=f"{version}.0")
    current = bundles / "current"
    for command in _BUNDLE.commands:
        current.unlink(missing_ok=True)
        current.symlink_to("polygrain-mini-1.0")
        setting = {"POLYGRAIN_BUNDLE": str(current)}
        with service_started_by(["serve"], tmp_path, **setting) as service:
            assert _version(service.host) == "1.0.0"
            here = command.replace("/bundles/", f"{bundles}/")
            type_in([here], tmp_path, service.host, PID=str(service.pid))
            deadline = time.monotonic() + PATIENCE_S
            while _version(service.host) != "1.1.0":  # a signal is not waited for
                assert time.monotonic() < deadline, (tmp_path / "log").read_text(encoding="utf-8")
                time.sleep(0.1)


def _version(host: str) -> str:
    with urllib.request.urlopen(f"http://{host}/info", timeout=PATIENCE_S) as answer:
        version: str = json.load(answer)["version"]
    return version
