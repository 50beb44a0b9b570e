"""API keys: made, written down, found."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.security.keys import (
    SCOPES,
    BadKeyEntry,
    Key,
    digest_of,
    find,
    make_secret,
    read_entries,
    read_entry,
)

_LIMIT = st.none() | st.integers(0, 10**11)
_KEYS = st.builds(
    Key,
    st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,31}\Z"),
    st.frozensets(st.sampled_from(SCOPES), min_size=1),
    st.from_regex(r"\A[0-9a-f]{64}\Z"),
    _LIMIT,
    _LIMIT,
)
_DIGEST = "ab" * 32


@settings(deadline=None)
@given(_KEYS)
def test_what_is_written_down_is_read_back(key: Key) -> None:
    assert read_entry(key.entry()) == key
    assert not set(key.entry()) & set(" \n#")  # one word of a line


def test_a_secret_has_its_name_and_256_bits_and_is_kept_as_its_sha256() -> None:
    one, other = make_secret("ci"), make_secret("ci")
    assert one != other
    assert one.startswith("pg_ci_")
    assert len(one.removeprefix("pg_ci_")) == 43  # 32 bytes in base64 without padding
    assert digest_of(one) == hashlib.sha256(one.encode()).hexdigest()


@settings(deadline=None)
@given(st.sampled_from(["ci", "a-b", "0"]), st.data())
def test_only_the_whole_secret_finds_its_key(name: str, data: st.DataObject) -> None:
    secret = make_secret(name)
    keys = {
        name: Key(name, frozenset(("read",)), digest_of(secret)),
        "other": Key("other", frozenset(("admin",)), digest_of(make_secret("other"))),
    }
    assert find(secret, keys) is keys[name]
    place = data.draw(st.integers(0, len(secret) - 1))
    changed = secret[:place] + chr(ord(secret[place]) ^ 1) + secret[place + 1 :]
    assert find(changed, keys) is None
    assert find(secret[:place], keys) is None
    assert find(secret.replace(f"_{name}_", "_other_"), keys) is None


@pytest.mark.parametrize("presented", ["", "x", "pg_", "pg_ci_", "pg_ci", "ü\ud800", "pg_none_x"])
def test_what_is_no_key_finds_none(presented: str) -> None:
    assert find(presented, {"ci": Key("ci", frozenset(("read",)), "0" * 64)}) is None


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("ci", "has no SHA-256"),
        ("CI:read:" + _DIGEST, "the name of an entry is 'CI'; use 1 to 32 of a-z"),
        ("a_b:read:" + _DIGEST, "the name of an entry is 'a_b'"),
        ("ci:read:" + "ab" * 31, "has no SHA-256 of 64 hexadecimal digits in third place"),
        ("ci:read,root:" + _DIGEST, "has scope 'root'; use some of read, write, admin"),
        ("ci::" + _DIGEST, "has scope ''; use some of read, write, admin"),
        (f"ci:read:{_DIGEST}:rows=5", "has 'rows=5'; use requests=N or tokens=N"),
        (f"ci:read:{_DIGEST}:requests=-5", "has 'requests=-5'; use requests=N"),
        (f"ci:read:{_DIGEST}:requests=" + "9" * 5_000, "use requests=N"),
    ],
)
def test_what_cannot_be_read_says_why(word: str, reason: str) -> None:
    with pytest.raises(BadKeyEntry) as raised:
        read_entry(word)
    assert reason in str(raised.value)


def test_a_key_in_the_place_of_its_entry_is_not_repeated() -> None:
    secret = make_secret("ci")
    with pytest.raises(BadKeyEntry) as raised:
        read_entry(secret)
    assert "looks like a key itself" in str(raised.value)
    assert secret[6:] not in str(raised.value)


def test_two_keys_of_one_name_are_refused() -> None:
    entry = Key("ci", frozenset(("read",)), _DIGEST).entry()
    with pytest.raises(BadKeyEntry, match="two keys named ci"):
        read_entries([entry, entry])
