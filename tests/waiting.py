"""Waiting for what another thread or process does, without a fixed pause."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fakes import PATIENCE_S


def wait_until(
    condition: Callable[[], object],
    what: object = "waited too long",
    patience_s: float = PATIENCE_S,
) -> None:
    """Return once `condition` holds; the test fails with `what` where it does not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
