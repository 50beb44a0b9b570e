from __future__ import annotations

import asyncio
import re

import pytest
from click.testing import CliRunner

from benchmarks import texts
from benchmarks.engine import LOADS, closed_loop, main, model_alone, percentiles, spread, units_of
from benchmarks.texts import Kind
from models.bundle import Bundle
from service.encoding.encoder import Encoder, Engine
from tests.tiny_bundle import WORDS


@pytest.fixture(autouse=True)
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tiny vocabulary has too few plain words for texts that differ.
    monkeypatch.setattr(texts, "words_of", lambda path: list(WORDS))


def test_it_prints_a_row_for_each_load_and_the_parts_of_a_phrase(tiny_bundle: Bundle) -> None:
    arguments = ["--bundle", str(tiny_bundle.path), "--threads", "1", "--rounds", "2"]
    arguments += ["--texts", "64", "--kind", "phrase", "--kind", "mix"]
    arguments += ["--large-texts", "2000", "--phrases", "10"]
    output = CliRunner().invoke(main, arguments, catch_exceptions=False).output
    rows = re.findall(r"^\| (\w+) \| (\d+) x (\d+) \|", output, re.MULTILINE)
    wanted = [(k, str(c), str(n)) for k in ("phrase", "mix") for c, n in LOADS]
    assert rows == wanted
    assert re.search(r"costs as much as -?\d+ tokens", output)
    assert re.search(r"one phrase at one client, microseconds: .* in all \d+", output)
    assert re.search(r"ratio of p99 [\d.]+; the large request took [\d.]+ s, \d+ texts/s", output)


def test_a_round_sends_every_text_once_and_so_does_the_model_alone(tiny_bundle: Bundle) -> None:
    encoder = Encoder.open(tiny_bundle.path, threads=1)
    units = units_of(encoder, Kind.SENTENCE, 90, seed=4)
    sent: list[str] = []

    class Counting(Engine):
        async def encode(self, units, *rest):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN202
            sent.extend(unit.text for unit in units)
            return await super().encode(units, *rest)

    requests = [units[start : start + 8] for start in range(0, 90, 8)]
    done, state = asyncio.run(
        closed_loop(
            lambda: Counting(encoder, batch_tokens=64, queue_tokens=10**6), requests, clients=3
        )
    )
    assert sorted(sent) == sorted(unit.text for unit in units)
    assert (done.texts, len(done.latencies_s)) == (90, len(requests))
    assert state.rows + state.joined_rows >= len({unit.text for unit in units})
    assert model_alone(encoder, units, 64).texts == 90


def test_what_the_table_sums_up() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == "3.000 (2.000 to 4.000)"
    p50, p99 = percentiles([number / 1_000 for number in range(101)])
    assert (round(p50, 6), round(p99, 6)) == (50, 99)
