"""API keys: how they are made, written down, and found again.

A key is `pg_NAME_SECRET`, where SECRET is 256 bits from the system's generator. What is kept is
the SHA-256 of the whole key. A slow hash (bcrypt, Argon2) protects passwords, which people choose
and an attacker can guess; among 2**256 secrets there is nothing to guess, at any speed, so a slow
one would only cost every request its time.

A key is written down as one word, `NAME:SCOPES:SHA256` with limits after it, such as
`ci:read,write:9f86d0…:requests=600:tokens=100000`. A file holds one in each line, and comments
from `#`; POLYGRAIN_KEYS holds them with blanks between.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# No underscore, which ends the name within a key.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LIMITS = ("requests", "tokens")
_PREFIX = "pg"


class BadKeyEntry(ValueError):
    """A written-down key cannot be read; the message says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """A caller: its name, what it may do, and how much in a minute (None: as the settings say)."""

    name: str
    scopes: frozenset[Scope]
    digest: str  # SHA-256 of the key, in hexadecimal
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def entry(self) -> str:
        """The word under which it is kept; `read_entry` is its inverse."""
        limits = (self.requests_per_minute, self.tokens_per_minute)
        given = zip(_LIMITS, limits, strict=True)
        scopes = ",".join(scope for scope in SCOPES if scope in self.scopes)
        words = [f"{name}={limit}" for name, limit in given if limit is not None]
        return ":".join([self.name, scopes, self.digest, *words])


def make_secret(name: str) -> str:
    """A new key for `name`, to be shown once and never kept."""
    return f"{_PREFIX}_{name}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is kept of a key."""
    # A header may hold half characters, which no key has; they must not be a fault here.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def find(presented: str, keys: Mapping[str, Key]) -> Key | None:
    """The key that `presented` is, or None.

    The name, which is no secret, finds the candidate; its digest is compared in constant time, and
    an unknown name takes the same steps.
    """
    _, _, rest = presented.partition("_")
    candidate = keys.get(rest.partition("_")[0])
    kept = "0" * 64 if candidate is None else candidate.digest
    return candidate if hmac.compare_digest(digest_of(presented), kept) else None


def read_entry(word: str) -> Key:
    """A key from the word under which it is kept; BadKeyEntry where it is none."""
    if word.startswith(f"{_PREFIX}_"):
        # Not repeated: it would stand in a log.
        raise BadKeyEntry(
            "an entry looks like a key itself; give what `polygrain keys create` wrote down for "
            "it, NAME:SCOPES:SHA256"
        )
    name, _, rest = word.partition(":")
    named, _, rest = rest.partition(":")
    digest, *limits = rest.split(":")
    if not NAME.fullmatch(name):
        raise BadKeyEntry(
            f"the name of an entry is {name[:40]!r}; use 1 to 32 of a-z, 0-9 and -, for "
            "NAME:SCOPES:SHA256"
        )
    if not _DIGEST.fullmatch(digest):
        raise BadKeyEntry(f"key {name} has no SHA-256 of 64 hexadecimal digits in third place")
    found = _limits_of(name, limits)
    scopes = scopes_of(named.split(","), f"key {name}")
    return Key(name, scopes, digest, found.get("requests"), found.get("tokens"))


def scopes_of(names: Iterable[str], owner: str) -> frozenset[Scope]:
    """The scopes of these names, at least one; BadKeyEntry names `owner` and what is allowed."""
    given = set(names)
    if not given or not given <= set(SCOPES):
        wrong = ", ".join(sorted(given - set(SCOPES)))[:60]
        raise BadKeyEntry(f"{owner} has scope {wrong!r}; use some of {', '.join(SCOPES)}")
    return frozenset(scope for scope in SCOPES if scope in given)


def read_entries(words: Iterable[str]) -> dict[str, Key]:
    """Keys by name; BadKeyEntry where one cannot be read or a name comes twice."""
    keys: dict[str, Key] = {}
    for key in map(read_entry, words):
        if key.name in keys:
            raise BadKeyEntry(f"there are two keys named {key.name}; revoke one")
        keys[key.name] = key
    return keys


def _limits_of(name: str, words: list[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for word in words:
        kind, _, value = word.partition("=")
        # Few digits: int() of thousands of them is slow, and refuses with another error.
        if kind not in _LIMITS or not re.fullmatch(r"[0-9]{1,12}", value):
            raise BadKeyEntry(
                f"key {name} has {word[:40]!r}; use requests=N or tokens=N, 0 for none"
            )
        limits[kind] = int(value)
    return limits
