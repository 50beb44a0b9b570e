"""What Prometheus reads at /metrics: one registry for each application, filled where things happen.

Requests are counted as they end; what the queue and the model did is read from their own counters
when somebody asks, so that no batch pays for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.encoding.batching import QueueState
from service.telemetry import Work

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds: a phrase takes one or two milliseconds, a large request tens of seconds.
_BUCKETS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
)

# Of paths that are in no table; whatever clients make up, the series stay few.
_OTHER = "other"
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = _Requests()
        self.registry.register(self._requests)

    def observe(self, work: Work, method: str, status: int, seconds: float) -> None:
        """Count a request that ended; an `Observer` of the request log, on the event loop."""
        path = work.route or _OTHER
        self._requests.add(path, method if method in _METHODS else _OTHER, status, seconds)

    def watch_queue(self, states: Callable[[], Sequence[QueueState]], batch_tokens: int) -> None:
        """Tell of the queues whose states `states` gives, the one of now first, then older ones."""
        self.registry.register(_Queue(states, batch_tokens))

    def watch_jobs(self, counts: Callable[[], Mapping[str, float]]) -> None:
        """Tell how many jobs there are in each state, as `counts` has it when asked."""
        self.registry.register(_Labelled("polygrain_jobs", "Jobs in each state.", "state", counts))

    def watch_recall(self, recalls: Callable[[], Mapping[str, float]]) -> None:
        """Tell what each collection's audit found, as `recalls` has it when asked."""
        about = "Share of the exact neighbours that a collection's index finds, when last measured."
        self.registry.register(_Labelled("polygrain_index_recall", about, "collection", recalls))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Requests(Collector):
    """How many requests ended, and how long they took.

    Counted by hand: this runs for every request, on one thread, where the library's own counters
    take locks and go through the buckets one by one.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        # By path: requests in each bucket, the last without a bound, and their seconds.
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def add(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._counts[path, method, status] += 1
        buckets = self._buckets.get(path)
        if buckets is None:
            buckets = self._buckets[path] = [0] * (len(_BUCKETS_S) + 1)
            self._seconds[path] = 0.0
        buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self._seconds[path] += seconds

    def describe(self) -> Iterable[Metric]:
        """The names, so that no other may take them."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """What was counted by now; in whichever thread."""
        ended = CounterMetricFamily(
            "polygrain_requests", "Requests that ended.", labels=("path", "method", "status")
        )
        for (path, method, status), count in list(self._counts.items()):
            ended.add_metric((path, method, str(status)), count)
        yield ended
        took = HistogramMetricFamily(
            "polygrain_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            labels=("path",),
        )
        bounds = [*map(floatToGoString, _BUCKETS_S), "+Inf"]
        for path, buckets in list(self._buckets.items()):
            upto = zip(bounds, accumulate(buckets), strict=True)
            took.add_metric((path,), list(upto), self._seconds[path])
        yield took


class _Labelled(Collector):
    """A gauge whose values are known elsewhere, by the value of its one label."""

    def __init__(
        self, name: str, about: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._about, self._label, self._values = name, about, label, values

    def describe(self) -> Iterable[Metric]:
        """The name, so that no other may take it."""
        return [GaugeMetricFamily(self._name, self._about, labels=(self._label,))]

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        family = GaugeMetricFamily(self._name, self._about, labels=(self._label,))
        for label, value in self._values().items():
            family.add_metric((label,), value)
        yield family


class _Queue(Collector):
    """Reads the queue's own counters at each scrape."""

    def __init__(self, states: Callable[[], Sequence[QueueState]], batch_tokens: int) -> None:
        self._states = states
        self._batch_tokens = batch_tokens

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads no queue before there is one."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The gauges of now, and totals over all queues that there were."""
        states = self._states()
        if not states:
            return

        def total(name: str) -> float:
            return float(sum(getattr(state, name) for state in states))

        batches, tokens, padded = total("batches"), total("tokens"), total("padded_tokens")
        room = batches * self._batch_tokens
        yield GaugeMetricFamily(
            "polygrain_queue_tokens",
            "Tokens of the requests accepted and not yet answered.",
            total("held_tokens"),
        )
        yield GaugeMetricFamily(
            "polygrain_queue_limit_tokens",
            "Tokens from which on requests are refused.",
            states[0].limit_tokens,
        )
        yield GaugeMetricFamily(
            "polygrain_batch_fill_ratio",
            "Tokens of batches, padding included, by those a batch may have; since the start.",
            padded / room if room else 0.0,
        )
        yield GaugeMetricFamily(
            "polygrain_padding_ratio",
            "Part of what the model read that was padding; since the start.",
            1 - tokens / padded if padded else 0.0,
        )
        for name, field, what in _TOTALS:
            yield CounterMetricFamily(f"polygrain_{name}", what, total(field))


_TOTALS = (
    ("tokens", "tokens", "Tokens that the model read, padding left out."),
    ("padded_tokens", "padded_tokens", "Tokens that the model read, padding included."),
    ("batches", "batches", "Batches that ran."),
    ("failed_batches", "failed_batches", "Batches on which the model failed."),
    ("rows", "rows", "Texts, and windows of long ones, that the model read."),
    ("model_seconds", "model_s", "Seconds that batches took."),
    ("waited_seconds", "waited_s", "Seconds that rows waited for their batch, added up."),
    ("cache_hits", "cached_rows", "Rows whose vector was kept from before."),
    ("joined_rows", "joined_rows", "Rows that took the vector of an equal row on its way."),
    ("refused_requests", "refused_requests", "Requests refused because the queue was full."),
)
