"""The report takes the right peer for the best, and divides round by round."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.serve.report import best, markdown
from benchmarks.serve.results import Results, Row
from benchmarks.serve.window import Window
from benchmarks.usage import Memory

SCENARIO = "mix, 8 clients × 32 texts"


def _window(texts_per_s: float, p50_ms: float = 10.0, cpu: float = 2.0) -> Window:
    return Window(texts_per_s / 32, texts_per_s, p50_ms, 3 * p50_ms, cpu, 0.05, 100, 0)


@pytest.fixture
def results() -> Results:
    """Two rounds: the second twice as slow for everybody."""
    found = Results("the same weights", ["ours", "slow", "quick"], ["slow", "quick"], rounds=2)
    found.reference = "slow"
    for entrant, server, rate, p50_ms, cpu in (
        ("ours, float", "ours", 900, 4, 2.5),
        ("slow, float", "slow", 200, 5, 3),
        ("quick, float", "quick", 300, 8, 3),
        ("quick, base64", "quick", 400, 9, 3),
        ("ours, no HTTP", "ours", 1_000, 3, 2),
    ):
        found.entrants[entrant] = server
        for round_ in (0, 1):
            slower = round_ + 1
            window = _window(rate / slower, p50_ms * slower, cpu)
            found.rows.append(Row(SCENARIO, entrant, round_, window))
    for name, megabytes in (("ours", 300), ("slow", 600), ("quick", 1_200)):
        found.lowest_cosine[name] = 1.0
        found.cold_start_s[name] = [2.0, 1.0]
        found.idle_cpu[name] = 0.01
        found.memory[name] = Memory(megabytes * 1_000_000, megabytes * 500_000)
    found.alone_p99_ms["ours"], found.beside_large_p99_ms["ours"] = [10, 20], [15, 60]
    found.ceiling_gflops["float32"] = [400, 500, 450]
    return found


def _cells(report: str, *beginning: str, columns: int | None = None) -> list[str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines()]
    found = [row for row in rows if row[: len(beginning)] == list(beginning)]
    found = [row for row in found if columns in (None, len(row))]
    assert len(found) == 1, f"{len(found)} rows begin {beginning}"
    return found[0]


def test_the_best_peer_is_the_best_in_any_encoding_and_never_ourselves(results: Results) -> None:
    assert best(results, SCENARIO, lambda w: w.texts_per_s, highest=True) == "quick, base64"
    assert best(results, SCENARIO, lambda w: w.p50_ms, highest=False) == "slow, float"


def test_ratios_are_over_the_best_peer_of_the_same_round(results: Results) -> None:
    report = markdown(results)
    assert _cells(report, "ours, float", columns=9)[3] == "2.25 (2.25 to 2.25)"
    assert _cells(report, "slow, float", columns=9)[3] == "0.5 (0.5 to 0.5)"
    row = _cells(report, "ours, float", f"{SCENARIO}: p50")
    assert row[2:] == ["slow, float", "0.8 (0.8 to 0.8)"]
    row = _cells(report, "ours, float", f"{SCENARIO}: texts/s", "ours, no HTTP")
    assert row[3] == "0.9 (0.9 to 0.9)"
    row = _cells(report, "ours, float", f"{SCENARIO}: CPU s / 1,000 texts")
    assert row[2:] == ["ours, no HTTP", "1.25 (1.25 to 1.25)"]
    row = _cells(report, "ours", "p99 of single phrases beside a large request")
    assert row[3] == "2.25 (1.5 to 3)"


def test_medians_memory_and_ceiling_are_shown(results: Results) -> None:
    report = markdown(results)
    assert _cells(report, "ours, float", columns=9)[2] == "675"
    assert _cells(report, "ours", "1.000000")[2:] == [
        "1.5 (1 to 2)",
        "300",
        "0.5",
        "150",
        "1.0",
    ]
    assert _cells(report, "float32")[1] == "450 (400 to 500)"


def test_a_peer_that_broke_is_told_and_is_nobodys_measure(results: Results) -> None:
    results.failures["quick, base64"] = "Stalled: no answer"
    results.rows = [row for row in results.rows if (row.entrant, row.round) != ("quick, base64", 1)]
    report = markdown(results)
    assert "quick, base64 is out: Stalled: no answer" in report
    assert _cells(report, "ours, float", columns=9)[3] == "3 (3 to 3)"
    assert _cells(report, "quick, base64", columns=9)[3] == "–"


def test_without_peers_there_is_nothing_to_divide_by(results: Results) -> None:
    alone = dataclasses.replace(
        results, servers=["ours"], peers=[], entrants={"ours, float": "ours"}
    )
    report = markdown(alone)
    assert _cells(report, "ours, float", columns=9)[3] == "–"
    assert _cells(report, "ours", "1.000000")[4] == "–"
