"""The check before every handler: who asks, may they, and have they asked too often."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.errors import Forbidden, RateLimited, Unauthorized
from service.security.files import read_file
from service.security.keys import SCOPES, BadKeyEntry, Key, Scope, find, read_entries
from service.security.limits import Bucket, whole_seconds
from service.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

# How soon a change of the file of keys is seen.
_LOOK_EVERY_S = 1.0

# The name of callers without a key; no key can have it.
ANONYMOUS = "-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the allowances that its requests are paid from."""

    name: str
    scopes: frozenset[Scope]
    requests: Bucket | None = None
    tokens: Bucket | None = None

    def pay_tokens(self, tokens: int) -> None:
        """Count what a request turned out to be."""
        if self.tokens is not None:
            self.tokens.pay(tokens)


class Guard:
    """Knows the keys in force; a file of keys is read again when it changes.

    Without keys, callers are anonymous: on the loopback they may do everything, elsewhere nothing,
    or with `allow_anonymous` read and write. Raises SettingsError where the keys cannot be read.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        # Whether keys are in force; where not, none needs to be presented.
        self.asks_for_keys = _has_keys(settings)
        self._settings = settings
        self._clock = clock
        self._stamp: tuple[int, ...] | None = None
        self._looked_at = clock()
        self._given = _given_keys(settings)
        self._keys: Mapping[str, Key] = self._given
        self._callers: dict[str, tuple[Key | None, Caller]] = {}
        if settings.keys_file is not None:
            self._stamp = self._look()
            try:
                self._keys = self._merged()
            except BadKeyEntry as error:
                raise SettingsError(f"POLYGRAIN_KEYS_FILE: {error}") from None
        self._anonymous = _anonymous_scopes(settings)

    def admit(self, presented: str | None, scope: Scope) -> Caller:
        """The caller who presents a key, or none, and wants to do what needs `scope`.

        Raises Unauthorized, Forbidden, or RateLimited; what it admits is one request paid.
        """
        caller = self._caller(presented)
        if scope not in caller.scopes:
            raise Forbidden(
                f"{_described(caller)} has the scopes {_listed(caller.scopes)}, and this needs "
                f"{scope}; use a key that has it"
            )
        for bucket, amount, what in (
            (caller.requests, 1, "requests"),
            (caller.tokens, 0, "tokens"),
        ):
            if bucket is not None and (wait_s := bucket.wait_s(amount)) > 0:
                seconds = whole_seconds(wait_s)
                raise RateLimited(
                    f"{_described(caller)} may use {bucket.per_minute} {what} a minute and has; "
                    f"send it again in {seconds} s",
                    retry_after_s=seconds,
                )
        if caller.requests is not None:
            caller.requests.pay(1)
        return caller

    def _caller(self, presented: str | None) -> Caller:
        if not self.asks_for_keys:
            return self._nobody()
        self._look_again()
        if presented is None:
            if self._anonymous:
                return self._nobody()
            raise Unauthorized(
                "this service asks for an API key; send it as Authorization: Bearer KEY, or as "
                "X-API-Key: KEY"
            )
        key = find(presented, self._keys)
        if key is None:
            raise Unauthorized(
                "the API key is not known here, or was revoked; check that it is whole, or make "
                "one with polygrain keys create"
            )
        return self._kept(key.name, key)

    def _nobody(self) -> Caller:
        if not self._anonymous:
            raise Unauthorized("this service has no API keys, and takes no request without one")
        return self._kept(ANONYMOUS, None)

    def _kept(self, name: str, key: Key | None) -> Caller:
        """The caller of a key, with the buckets it had before; a changed key starts anew."""
        known = self._callers.get(name)
        if known is None or known[0] != key:
            requests = key.requests_per_minute if key else None
            tokens = key.tokens_per_minute if key else None
            caller = Caller(
                name,
                self._anonymous if key is None else key.scopes,
                self._bucket(requests, self._settings.requests_per_minute),
                self._bucket(tokens, self._settings.tokens_per_minute),
            )
            known = self._callers[name] = key, caller
        return known[1]

    def _bucket(self, own: int | None, usual: int) -> Bucket | None:
        limit = usual if own is None else own
        return Bucket(limit, self._clock) if limit else None

    def _look_again(self) -> None:
        now = self._clock()
        if self._settings.keys_file is None or now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._merged()
        except BadKeyEntry as error:
            # Those that were in force stay so: a slip must not lock everybody out.
            logger.error("keys_not_read reason=%r", str(error))
        else:
            for name in self._callers.keys() - self._keys.keys() - {ANONYMOUS}:
                del self._callers[name]
            logger.info("keys_read count=%d", len(self._keys))

    def _look(self) -> tuple[int, ...]:
        assert self._settings.keys_file is not None
        try:
            status = os.stat(self._settings.keys_file)
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _merged(self) -> Mapping[str, Key]:
        assert self._settings.keys_file is not None
        read = read_file(self._settings.keys_file)
        if both := sorted(read.keys() & self._given.keys()):
            raise BadKeyEntry(f"key {both[0]} is in the file and in POLYGRAIN_KEYS; revoke one")
        return {**self._given, **read}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings) -> None:
    """Raise SettingsError where the service would listen beyond this machine without keys."""
    if is_loopback(settings.host) or _has_keys(settings) or settings.allow_anonymous:
        return
    raise SettingsError(
        f"--host is {settings.host!r}, which other machines may reach, and there are no API keys; "
        "make one with `polygrain keys create NAME --file FILE` and set POLYGRAIN_KEYS_FILE, or "
        "serve everybody with POLYGRAIN_ALLOW_ANONYMOUS=true"
    )


def _has_keys(settings: Settings) -> bool:
    # A file without keys counts: after the last one is revoked nobody may come in.
    return settings.keys_file is not None or settings.keys is not None


def _given_keys(settings: Settings) -> dict[str, Key]:
    try:
        return read_entries((settings.keys or "").split())
    except BadKeyEntry as error:
        raise SettingsError(f"POLYGRAIN_KEYS: {error}") from None


def _anonymous_scopes(settings: Settings) -> frozenset[Scope]:
    if is_loopback(settings.host) and not _has_keys(settings):
        return frozenset(SCOPES)
    # Never admin: who may change the model is known, or on this machine.
    return frozenset(("read", "write")) if settings.allow_anonymous else frozenset()


def _described(caller: Caller) -> str:
    return "a caller without a key" if caller.name == ANONYMOUS else f"key {caller.name}"


def _listed(scopes: frozenset[Scope]) -> str:
    return ", ".join(scope for scope in SCOPES if scope in scopes) or "none"
