"""Who is let in, to do what, how often."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from service.errors import Forbidden, RateLimited, Unauthorized
from service.security.files import changed_file
from service.security.guard import Guard, check_exposure, is_loopback
from service.security.keys import SCOPES, Key, Scope, digest_of, make_secret
from service.settings import Settings, SettingsError


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _new(name: str, *scopes: Scope, **limits: int) -> tuple[str, Key]:
    secret = make_secret(name)
    return secret, Key(name, frozenset(scopes), digest_of(secret), **limits)


def _add(path: Path, name: str, *scopes: Scope, **limits: int) -> str:
    secret, key = _new(name, *scopes, **limits)
    with changed_file(path) as keys:
        keys[name] = key
    return secret


_KEY = _new("ci", "read")[1].entry()


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, {"read", "write", "admin"}),
        ({"host": "::1"}, {"read", "write", "admin"}),
        ({"host": "0.0.0.0"}, set()),
        ({"host": "0.0.0.0", "allow_anonymous": True}, {"read", "write"}),
        ({"allow_anonymous": True}, {"read", "write", "admin"}),
        ({"keys": _KEY}, set()),
        ({"keys": _KEY, "allow_anonymous": True}, {"read", "write"}),
        ({"keys": ""}, set()),
    ],
)
def test_what_a_caller_without_a_key_may_do(settings: dict[str, Any], allowed: set[str]) -> None:
    guard = Guard(Settings(**settings))
    for scope in SCOPES:
        if scope in allowed:
            assert guard.admit(None, scope).name == "-"
        else:
            with pytest.raises((Unauthorized, Forbidden)):
                guard.admit(None, scope)


def test_a_key_may_do_what_it_says_and_nothing_else() -> None:
    secret, key = _new("ci", "read", "admin")
    guard = Guard(Settings(keys=key.entry()))
    assert guard.admit(secret, "read").name == "ci"
    assert guard.admit(secret, "admin").name == "ci"
    with pytest.raises(Forbidden, match="key ci has the scopes read, admin, and this needs write"):
        guard.admit(secret, "write")


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_wrong_key_is_refused_even_where_none_is_fine(anonymous: bool) -> None:
    guard = Guard(Settings(keys=_KEY, allow_anonymous=anonymous))
    with pytest.raises(Unauthorized, match="not known here, or was revoked") as raised:
        guard.admit(make_secret("ci"), "read")
    assert raised.value.headers() == {"WWW-Authenticate": "Bearer"}


def test_where_there_are_no_keys_any_is_ignored() -> None:
    assert Guard(Settings()).admit("sk-unused", "read").name == "-"


def test_a_changed_file_is_seen_within_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", _Clock()
    first = _add(path, "first", "read")
    guard = Guard(Settings(keys_file=path), clock)
    assert guard.admit(first, "read").name == "first"
    second = _add(path, "second", "read")
    with changed_file(path) as keys:
        del keys["first"]
    clock.now += 1
    assert guard.admit(second, "read").name == "second"
    with pytest.raises(Unauthorized):
        guard.admit(first, "read")


def test_after_the_last_key_is_revoked_nobody_comes_in(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", _Clock()
    secret = _add(path, "only", "read")
    guard = Guard(Settings(keys_file=path), clock)
    with changed_file(path) as keys:
        keys.clear()
    clock.now += 1
    for presented in (secret, None):
        with pytest.raises(Unauthorized):
            guard.admit(presented, "read")


@pytest.mark.parametrize("damage", [b"\xff", b"nonsense\n", None])
def test_a_file_that_breaks_leaves_the_keys_in_force(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "keys", _Clock()
    secret = _add(path, "ci", "read")
    guard = Guard(Settings(keys_file=path), clock)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    clock.now += 1
    assert guard.admit(secret, "read").name == "ci"
    assert "keys_not_read" in caplog.text


@pytest.mark.parametrize("content", [None, b"\xff", b"nonsense\n"])
def test_a_file_that_cannot_be_read_at_the_start_is_an_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"POLYGRAIN_KEYS_FILE: .*keys"):
        Guard(Settings(keys_file=path))


def test_the_environment_and_the_file_add_up_unless_a_name_is_in_both(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    secret = _add(path, "ours", "write")
    other, key = _new("ci", "read")
    guard = Guard(Settings(keys_file=path, keys=key.entry()))
    assert guard.admit(other, "read").name == "ci"
    assert guard.admit(secret, "write").name == "ours"
    _add(path, "ci", "read")
    with pytest.raises(SettingsError, match="key ci is in the file and in POLYGRAIN_KEYS"):
        Guard(Settings(keys_file=path, keys=key.entry()))


def test_requests_are_limited_by_key() -> None:
    clock = _Clock()
    slow, slow_key = _new("slow", "read", requests_per_minute=2)
    usual, usual_key = _new("usual", "read")
    keys = f"{slow_key.entry()} {usual_key.entry()}"
    guard = Guard(Settings(keys=keys, requests_per_minute=3), clock)
    for secret, allowed in ((slow, 2), (usual, 3)):
        for _ in range(allowed):
            guard.admit(secret, "read")
        with pytest.raises(RateLimited) as raised:
            guard.admit(secret, "read")
        assert raised.value.headers() == {"Retry-After": str(60 // allowed)}
        assert f"may use {allowed} requests a minute" in raised.value.message
    clock.now += 30
    guard.admit(slow, "read")


def test_tokens_are_limited_by_what_was_used() -> None:
    clock = _Clock()
    secret, key = _new("ci", "read", tokens_per_minute=100)
    guard = Guard(Settings(keys=key.entry()), clock)
    guard.admit(secret, "read").pay_tokens(150)
    with pytest.raises(RateLimited, match="100 tokens a minute") as raised:
        guard.admit(secret, "read")
    assert raised.value.headers() == {"Retry-After": "30"}
    clock.now += 30
    guard.admit(secret, "read")


def test_zero_frees_a_key_from_the_usual_limit() -> None:
    secret, key = _new("free", "read", requests_per_minute=0)
    guard = Guard(Settings(keys=key.entry(), requests_per_minute=1), _Clock())
    for _ in range(5):
        guard.admit(secret, "read")


def test_a_request_that_is_refused_costs_nothing() -> None:
    secret, key = _new("ci", "read", requests_per_minute=1)
    guard = Guard(Settings(keys=key.entry()), _Clock())
    with pytest.raises(Forbidden):
        guard.admit(secret, "write")
    guard.admit(secret, "read")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_listening_elsewhere_needs_keys_or_a_word(host: str, local: bool) -> None:
    assert is_loopback(host) == local
    if local:
        check_exposure(Settings(host=host))
    else:
        with pytest.raises(SettingsError, match="there are no API keys"):
            check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, keys=_KEY))
    check_exposure(Settings(host=host, allow_anonymous=True))


def test_a_file_of_keys_is_its_owners_alone_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    _add(path, "ci", "read")
    assert os.stat(path).st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with contextlib.suppress(RuntimeError), changed_file(path) as keys:
        keys.clear()
        raise RuntimeError
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]
