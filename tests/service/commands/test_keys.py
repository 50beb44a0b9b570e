"""`polygrain keys` and what `polygrain serve` asks of the settings of keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.security.files import read_file
from service.security.guard import Guard
from service.security.keys import read_entry
from service.settings import Settings


def _run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments], env=variables)


def test_a_key_is_shown_once_works_and_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made = _run("create", "ci", "--scope", "write", "--tokens-per-minute", "9", "--file", str(path))
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret not in path.read_text()
    assert Guard(Settings(keys_file=path)).admit(secret, "write").name == "ci"
    (key,) = read_file(path).values()
    assert key.scopes == frozenset(("write",))
    assert (key.requests_per_minute, key.tokens_per_minute) == (None, 9)


def test_the_setting_names_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    for name in ("one", "two"):
        assert _run("create", name, POLYGRAIN_KEYS_FILE=path).exit_code == 0
    listed = _run("list", POLYGRAIN_KEYS_FILE=path)
    assert listed.stdout == "one\tread\t-\t-\ntwo\tread\t-\t-\n"
    assert _run("revoke", "one", POLYGRAIN_KEYS_FILE=path).exit_code == 0
    assert _run("list", POLYGRAIN_KEYS_FILE=path).stdout == "two\tread\t-\t-\n"


def test_a_key_for_the_environment_is_only_shown(tmp_path: Path) -> None:
    made = _run("create", "ci", "--print-only")
    entry = made.stderr.removeprefix("POLYGRAIN_KEYS entry: ").strip()
    assert read_entry(entry).name == "ci"
    guard = Guard(Settings(keys=entry))
    assert guard.admit(made.stdout.strip(), "read").name == "ci"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("create", "ci"), 2, "name the file of keys: --file FILE, or POLYGRAIN_KEYS_FILE"),
        (("create", "C I", "--file", "FILE"), 2, "'C I' is no name; use 1 to 32 of a-z"),
        (("create", "have", "--file", "FILE"), 1, "has a key named have; revoke it"),
        (("create", "ci", "--scope", "root", "--file", "FILE"), 2, "'root' is not one of"),
        (("revoke", "none", "--file", "FILE"), 1, "has no key named none"),
        (("list", "--file", "missing"), 1, "there is no file missing"),
        (("revoke", "x", "--file", "missing"), 1, "there is no file missing"),
        (("create", "ci", "--file", "/nowhere/keys"), 1, "No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    path = tmp_path / "keys"
    assert _run("create", "have", "--file", str(path)).exit_code == 0
    before = path.read_bytes()
    result = _run(*(str(path) if word == "FILE" else word for word in arguments))
    assert result.exit_code == code
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "--host is '0.0.0.0', which other machines may reach, and there are no API keys"),
        ({"POLYGRAIN_KEYS_FILE": "missing"}, "POLYGRAIN_KEYS_FILE: there is no file missing"),
        ({"POLYGRAIN_KEYS": "pg_ci_secretsecret"}, "looks like a key itself"),
        ({"POLYGRAIN_KEYS": "", "POLYGRAIN_CORS_ORIGINS": "example.org"}, "has 'example.org'"),
    ],
)
def test_a_service_that_would_be_open_or_wrong_does_not_start(
    tiny_path: str, variables: dict[str, str], reason: str
) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--port", "0", "--bundle", tiny_path]
    result = CliRunner().invoke(main, [*arguments, "--threads", "1"], env=variables)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "secretsecret" not in result.output


@pytest.fixture
def tiny_path(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("tiny_bundle").path)
