"""How much a caller may do in a minute: token buckets, filled steadily and paid from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_MINUTE_S = 60.0


class Bucket:
    """Holds at most one minute's allowance, and gets it back over a minute.

    Paying may leave debt: a request's tokens are counted when it is read, so a caller that asked
    for much waits afterwards.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = float(per_minute)
        self._filled_at = clock()

    def wait_s(self, amount: float = 0.0) -> float:
        """Seconds until `amount` can be paid, 0 where it can be now."""
        now = self._clock()
        gained = (now - self._filled_at) * self.per_minute / _MINUTE_S
        self._level = min(float(self.per_minute), self._level + gained)
        self._filled_at = now
        # No more than the bucket can ever hold, so that the wait ends.
        missing = min(amount, self.per_minute) - self._level
        return max(0.0, missing * _MINUTE_S / self.per_minute)

    def pay(self, amount: float) -> None:
        """Take `amount`, into debt where it is more than there is."""
        self._level -= amount


def whole_seconds(wait_s: float) -> int:
    """A wait as Retry-After tells it: up to the next second, at least one."""
    return max(1, math.ceil(wait_s))
