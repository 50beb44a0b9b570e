"""What a stretch of load came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OK = 200
# In the place of a status: the answer was not waited for any longer.
UNANSWERED = 0


class Answered(NamedTuple):
    """A request that got its answer."""

    # Open loop: when it was due, whether or not it could be sent then.
    sent_s: float
    answered_s: float
    texts: int
    status: int


@dataclass(frozen=True, slots=True)
class Window:
    """The figures of one stretch of load."""

    requests_per_s: float
    texts_per_s: float
    p50_ms: float
    p99_ms: float
    # CPU seconds of the server's processes for each thousand texts.
    cpu_s_per_1000: float
    # Share of one core that the load generator took.
    generator_cpu: float
    # Latencies behind the percentiles.
    samples: int
    # Answers that were not 200, and requests without an answer.
    failed: int

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def figures(
    answered: Sequence[Answered],
    start_s: float,
    end_s: float,
    *,
    cpu_s: float,
    generator_cpu_s: float,
    failed: int = 0,
) -> Window:
    """The figures of the time from `start_s` to `end_s`, both on the clock of `answered`.

    A request that reaches over an edge counts by the part of its time that lies within, so that
    long requests in short windows are neither lost nor won. Latencies are those of requests that
    began within, the unanswered ones included. `failed` are more than those in `answered`. NaN
    where nothing was answered.
    """
    good = [one for one in answered if one.status == OK]
    seconds = end_s - start_s
    shares = credit(good, start_s, end_s)
    texts = float(shares @ np.array([one.texts for one in good], np.float64))
    latencies = np.array(
        [
            one.answered_s - one.sent_s
            for one in answered
            if one.status in (OK, UNANSWERED) and start_s <= one.sent_s < end_s
        ]
    )
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3 if len(latencies) else (np.nan, np.nan)
    return Window(
        float(shares.sum()) / seconds,
        texts / seconds,
        float(p50),
        float(p99),
        1e3 * cpu_s / texts if texts else float("nan"),
        generator_cpu_s / seconds,
        len(latencies),
        len(answered) - len(good) + failed,
    )


def credit(answered: Sequence[Answered], start_s: float, end_s: float) -> NDArray[np.float64]:
    """The share of each request's time that lies between `start_s` and `end_s`, 0 to 1."""
    sent = np.array([one.sent_s for one in answered], np.float64)
    done = np.array([one.answered_s for one in answered], np.float64)
    within = np.minimum(done, end_s) - np.maximum(sent, start_s)
    shares: NDArray[np.float64] = np.clip(within / np.maximum(done - sent, 1e-9), 0.0, 1.0)
    return shares


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, the lowest and the highest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum; ValueError where there is no value."""
    if not values:
        raise ValueError("no values to take the median of")
    return Spread(float(np.median(values)), min(values), max(values))


def ratios(ours: Sequence[float], others: Sequence[float]) -> Spread:
    """The spread of ours / other's, round by round: what drifts from round to round cancels."""
    return spread([one / other for one, other in zip(ours, others, strict=True)])
