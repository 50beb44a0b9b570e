"""What the command line asks of a running service."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click

from service.settings import API_KEY_VARIABLE

# Opening and warming a large bundle may take minutes.
_PATIENCE_S = 600


def use_bundle(url: str, path: Path | None) -> dict[str, Any]:
    """Ask the service at `url` to serve the bundle at `path`; what it serves then.

    Raises ClickException, in one line, where it does not.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(API_KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"path": None if path is None else str(path)}).encode()
    address = f"{url.rstrip('/')}/admin/bundle"
    if not address.startswith(("http://", "https://")):
        raise click.UsageError(f"--url is {url!r}; give one that begins with http:// or https://")
    try:
        request = urllib.request.Request(address, body, headers)
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
            served: dict[str, Any] = json.load(response)
            return served
    except urllib.error.HTTPError as error:
        raise click.ClickException(_reason(error)) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise click.ClickException(
            f"no service answers at {url}: {reason}; start one with polygrain serve, or name it "
            "with --url"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            message = json.load(error)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            return f"the service answered {error.code} {error.reason}; is it Polygrain?"
    hint = f"; set {API_KEY_VARIABLE}" if error.code == 401 else ""
    return f"{message}{hint}"
