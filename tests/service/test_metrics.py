"""/metrics, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.metrics import Metrics
from service.processes.siblings import among, merged
from service.settings import Settings
from service.telemetry import Work

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _read(text: str | bytes) -> Samples:
    text = text if isinstance(text, str) else text.decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_requests_are_counted_by_route_method_and_status(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(), encoder)) as client:
        for text in ("cat", "", "dog"):
            client.post("/embed", json={"inputs": text})
        client.get("/v1/models/tiny")
        client.get("/v1/models/none")
        for path in ("/a", "/b", "/c"):
            client.get(path)
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = _read(response.text)
    name = "polygrain_requests_total"
    assert _value(samples, name, path="/embed", method="POST", status="200") == 2
    assert _value(samples, name, path="/embed", method="POST", status="422") == 1
    model = {"path": "/v1/models/{model}", "method": "GET"}
    assert _value(samples, name, **model, status="200") == 1
    assert _value(samples, name, **model, status="404") == 1
    assert _value(samples, name, path="other", method="GET", status="404") == 3


def test_the_queue_is_told_as_it_is(encoder: Encoder) -> None:
    settings = Settings(batch_tokens=64, cache_bytes=1_000_000)
    with TestClient(create_app(settings, encoder)) as client:
        before = _read(client.get("/metrics").text)
        for _ in range(2):
            client.post("/embed", json={"inputs": ["the cat sat on the mat", "a"]})
        queue = client.get("/info").json()["queue"]
        samples = _read(client.get("/metrics").text)
    assert _value(before, "polygrain_tokens_total") == 0
    assert _value(before, "polygrain_batch_fill_ratio") == 0
    assert _value(samples, "polygrain_tokens_total") == 8 + 3
    padded = _value(samples, "polygrain_padded_tokens_total")
    batches = _value(samples, "polygrain_batches_total")
    assert _value(samples, "polygrain_padding_ratio") == pytest.approx(1 - 11 / padded)
    assert _value(samples, "polygrain_padding_ratio") == pytest.approx(queue["padding_share"])
    assert _value(samples, "polygrain_batch_fill_ratio") == pytest.approx(padded / batches / 64)
    assert _value(samples, "polygrain_cache_hits_total") == 2
    assert _value(samples, "polygrain_queue_tokens") == 0


def test_times_fall_into_the_buckets_that_hold_them() -> None:
    metrics = Metrics()
    times = [0.0004, 0.001, 0.003, 0.7, 1_000.0]
    for seconds in times:
        metrics.observe(Work(route="/embed"), "POST", 200, seconds)
    samples = _read(metrics.text())
    for (name, labels), value in samples.items():
        if name == "polygrain_request_seconds_bucket":
            bound = float(dict(labels)["le"])
            assert value == sum(seconds <= bound for seconds in times)
    assert _value(samples, "polygrain_request_seconds_sum", path="/embed") == pytest.approx(
        sum(times)
    )
    assert _value(samples, "polygrain_request_seconds_count", path="/embed") == len(times)


def test_series_stay_few_whatever_clients_send() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.observe(Work(), f"METHOD{number}", 400, 0.1)
    names = [name for name, _ in _read(metrics.text())]
    assert names.count("polygrain_requests_total") == 1


def test_jobs_and_recall_are_told_as_they_are_when_asked() -> None:
    metrics = Metrics()
    metrics.watch_jobs(lambda: {"running": 2})
    metrics.watch_recall(lambda: {"news": 0.98})
    samples = _read(metrics.text())
    assert _value(samples, "polygrain_jobs", state="running") == 2
    assert _value(samples, "polygrain_index_recall", collection="news") == 0.98


def test_workers_are_told_apart_and_families_stand_once() -> None:
    texts = {}
    for number, requests in (("1", 3), ("2", 5)):
        metrics = Metrics()
        for _ in range(requests):
            metrics.observe(Work(route='/a"b'), "GET", 200, 0.1)
        metrics.watch_jobs({'odd } "state"': requests}.copy)
        texts[number] = metrics.text()
    samples = _read(merged(texts))
    labels = {"path": '/a"b', "method": "GET", "status": "200"}
    assert _value(samples, "polygrain_requests_total", **labels, worker="1") == 3
    assert _value(samples, "polygrain_requests_total", **labels, worker="2") == 5
    assert _value(samples, "polygrain_jobs", state='odd } "state"', worker="2") == 5
    assert len(samples) == sum(len(_read(text)) for text in texts.values())


def test_each_worker_answers_for_all_and_the_dead_are_left_out(tmp_path: Path) -> None:
    async def text(number: int) -> bytes:
        return b"# HELP x_total X.\n# TYPE x_total counter\nx_total %d\n" % number

    async def scenario() -> tuple[bytes, bytes, bytes]:
        (tmp_path / "3.sock").touch()  # left behind
        async with among(tmp_path, 1, lambda: text(10)) as first:
            async with among(tmp_path, 2, lambda: text(20)) as second:
                both = await first(), await second()
            return *both, await first()

    one, other, alone = asyncio.run(scenario())
    for answer in (one, other):
        samples = _read(answer)
        assert _value(samples, "x_total", worker="1") == 10
        assert _value(samples, "x_total", worker="2") == 20
    assert len(_read(alone)) == 1
