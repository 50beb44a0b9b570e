"""Ends with 0 where the service in this container takes texts, else with 1 and one line of why.

Standard library alone, run with `python3 -I -S`: it starts several times a minute.
"""

from __future__ import annotations

import http.client
import os
import sys

# Addresses that stand for every interface; the loopback is one of them.
_EVERY_INTERFACE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

_TIMEOUT_S = 4.0


def main() -> int:
    """Ask `/readyz` where the environment says that the service listens."""
    host = os.environ.get("POLYGRAIN_HOST", "127.0.0.1")
    host = _EVERY_INTERFACE.get(host, host)
    port = os.environ.get("POLYGRAIN_PORT", "8080")
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"/readyz at {host} port {port}: {error}\n")
        return 1
    if status != 200:
        sys.stderr.write(f"/readyz at {host} port {port} answers {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
