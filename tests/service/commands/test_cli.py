"""The `polygrain` command as a whole: its settings, its errors, what it needs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.service.commands.running import ROOT, one_line, run, shell
from tests.tiny_bundle import write_tiny_bundle


def test_the_option_wins_over_the_environment(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGRAIN_BUNDLE", "/nowhere")
    assert "bundle /nowhere: no such folder" in one_line(run("info"), 1)
    assert json.loads(run("info", "--bundle", bundle.path).stdout)["name"] == "tiny"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("POLYGRAIN_PORT", "tcp://10.0.0.1:80", "POLYGRAIN_PORT is 'tcp://10.0.0.1:80': input sho"),
        ("POLYGRAIN_PORT", "65536", "POLYGRAIN_PORT is '65536': input should be less than or"),
        ("POLYGRAIN_MAX_ITEMS", "0", "POLYGRAIN_MAX_ITEMS is '0': input should be greater than 0"),
        ("POLYGRAIN_LOG_LEVEL", "loud", "POLYGRAIN_LOG_LEVEL is 'loud': input should be 'debug'"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_2(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    for command in ("serve", "embed", "info"):
        assert message in one_line(run(command, stdin="cat\n"), 2)


def test_a_bad_option_is_named_as_it_was_given(bundle: Bundle) -> None:
    assert "--threads is 0: input should be greater" in one_line(run("embed", "--threads", "0"), 2)
    assert "--port is 65536" in one_line(run("serve", "--port", "65536"), 2)
    assert "--log-level is 'loud'" in one_line(run("serve", "--log-level", "loud"), 2)


def test_serve_refuses_a_damaged_bundle_in_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    (bundle.path / "tokenizer.json").unlink()
    result = shell("polygrain serve --port 0", bundle)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: bundle {bundle.path}: missing tokenizer.json")
    assert len(result.stderr.splitlines()) == 1


def test_serve_warns_of_a_variable_that_is_no_setting(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    (bundle.path / "tokenizer.json").unlink()
    result = shell("POLYGRAIN_PROT=1 polygrain serve --port 0", bundle)
    assert "unknown_setting name=POLYGRAIN_PROT" in result.stderr


def test_the_version_is_the_projects() -> None:
    assert run("--version").stdout == f"polygrain {version('polygrain')}\n"


def test_nothing_needs_torch_or_transformers(tiny_bundle: Bundle) -> None:
    program = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "adapters", "onnx", "training"}:
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
import service.app
from service.cli import main
main(["embed"])
"""
    environment = {**os.environ, "POLYGRAIN_BUNDLE": str(tiny_bundle.path)}
    result = subprocess.run(
        [sys.executable, "-c", program],
        input="the cat\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(io.StringIO(result.stdout).readline())["tokens"] == 4
