"""The demonstration: short passages in twelve languages, and the way into a running service."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

PASSAGES = Path(__file__).with_name("passages.jsonl")

# A key for services that ask for one.
KEY_VARIABLE = "POLYGRAIN_API_KEY"

_TIMEOUT_S = 60

Document = dict[str, Any]


class DemoError(Exception):
    """The demonstration cannot be loaded; the message is one line that says why."""


@cache
def passages() -> tuple[Document, ...]:
    """All passages, as `POST /collections/{name}/documents` takes them; LICENCE.md says whose."""
    lines = PASSAGES.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def load(url: str, name: str) -> dict[str, Any]:
    """Write the passages into the collection `name` of the service at `url`, made where it is not.

    Loading twice is loading once: the passages keep their ids. Returns the service's answer to the
    write. Raises DemoError where no service answers, or it refuses.
    """
    collection = f"{url.rstrip('/')}/collections/{urllib.parse.quote(name, safe='')}"
    _send("PUT", collection, {})
    return _send("POST", f"{collection}/documents", {"documents": passages()})


def _send(method: str, url: str, body: object) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise DemoError(f"{url!r} is no address of a service; give one that begins with http://")
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            raise DemoError(f"{url} answered {error.code}: {_reason(error)}") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DemoError(
            f"no service answers at {url}: {reason}; start one with polygrain serve, or name it "
            "with --url"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason
