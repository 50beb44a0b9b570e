from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import soak, texts
from benchmarks.soak import growth_percent, main, random_texts
from models.bundle import Bundle
from tests.tiny_bundle import WORDS

only_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@pytest.fixture(autouse=True)
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "words_of", lambda path: list(WORDS))


def _soak(bundle: Bundle, *arguments: str) -> tuple[int, str]:
    given = ["--bundle", str(bundle.path), "--threads", "1", "--seconds", "1", *arguments]
    result = CliRunner().invoke(main, given)
    return result.exit_code, result.output


@only_linux
def test_it_tells_the_memory_as_it_goes_and_its_growth(tiny_bundle: Bundle) -> None:
    code, output = _soak(tiny_bundle, "--most", "1000")
    *samples, last = output.splitlines()
    assert code == 0
    assert len(samples) == 20
    assert all(line.endswith("texts") and float(line.split()[2]) > 10 for line in samples)
    assert "resident memory grew by" in last
    assert int(last.split()[0]) > 0


@only_linux
def test_growth_is_a_failure(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(100, 100_000))
    monkeypatch.setattr(soak, "bytes_of", lambda *which: next(sizes) * 1e6)
    code, output = _soak(tiny_bundle)
    assert code == 1
    assert "grew by +" in output


def test_a_server_needs_both_its_address_and_its_process(tiny_bundle: Bundle) -> None:
    code, output = _soak(tiny_bundle, "--url", "http://127.0.0.1:1")
    assert code == 2
    assert "--url and --pid go together" in output


def test_growth_counts_from_the_second_tenth_to_the_last() -> None:
    assert growth_percent([1.0] * 10 + [50.0] * 10 + [9.0] * 70 + [60.0] * 10) == pytest.approx(20)
    assert growth_percent([5.0] * 100) == 0


def test_requests_are_one_text_or_many_sizes_of_which_one_is_long() -> None:
    rng = random.Random(1)
    every = [random_texts(list(WORDS), rng) for _ in range(80)]
    requests = [request for request in every if len(request) > 1]
    assert 20 < len(requests) < 60
    counts = {len(request) for request in requests}
    assert min(counts) < 12
    assert max(counts) > 36
    assert all(len(request[-1].split()) > 100 for request in requests)
