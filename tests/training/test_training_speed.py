"""The benchmark of training trains what it says, and reports nothing that is not comparable."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks.training_speed import pairs
from benchmarks.training_speed.__main__ import main
from benchmarks.training_speed.alternation import (
    OURS,
    PEER,
    Disagreement,
    Outcome,
    alternate,
    check_alike,
    processes,
)
from benchmarks.training_speed.cases import ADAPTER, CASES, recipe
from benchmarks.training_speed.ours import measure
from benchmarks.training_speed.report import report
from benchmarks.training_speed.side import Clock, Job, Measurement
from tests.tiny_training import LANGUAGES
from training import stage
from training.backbone import Backbone
from training.data import Corpus, Loader
from training.metrics import read_metrics
from training.terms.recipe import Objective
from training.trainer import encoders, train

JOB = Job(
    case="info_nce",
    precision="float32",
    device="cpu",
    backbone="nowhere",
    teacher="nowhere",
    pairs="nowhere",
    batch_pairs=8,
    max_tokens=32,
    chunk_tokens=100,
    warmup_steps=1,
    timed_steps=2,
    threads=1,
    seed=3,
    mask_token="[UNK]",
)
FOUND = Measurement(
    texts_per_s=100.0,
    peak_mib=900.0,
    before_mib=500.0,
    peak_cuda_mib=None,
    trainable=10,
    losses=(2.0, 1.5, 1.0, 0.5),
    versions={"Python": "3", "torch": "2", "transformers": "4", "adapters": "1"},
)


@pytest.fixture
def job(bert_folder: Path, corpus: Corpus, tmp_path: Path) -> Job:
    """A job over what the trainer reads of the tiny corpus."""
    tiny = replace(JOB, backbone=str(bert_folder), teacher=str(bert_folder))
    loader = Loader(recipe(tiny, LANGUAGES), corpus)
    file = tmp_path / "pairs.json"
    sampler = loader.translations(ADAPTER).sampler
    pairs.write(file, sampler.pairs)  # type: ignore[attr-defined]
    return replace(tiny, pairs=str(file))


@pytest.mark.parametrize(
    "case", ["info_nce", "info_nce, gradient_cache", "embedding_mse", "hard_negatives"]
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_ours_is_what_the_trainer_trains(
    case: str,
    precision: str,
    job: Job,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = replace(job, case=case, precision=precision)
    found = measure(job)
    monkeypatch.setattr(stage, "LOG_EVERY_STEPS", 1)
    own = recipe(job, LANGUAGES)
    train(own, corpus, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / ADAPTER / "metrics.jsonl")
    rounding = {"float32": 1e-5, "bfloat16": 1e-2}[precision]
    assert [line["loss"] for line in lines] == pytest.approx(list(found.losses), rel=rounding)
    assert len(lines) == 4
    attached, _ = encoders(
        own, Backbone.open(own.backbone, half_weights=False), None, torch.device("cpu")
    )
    own_weights = [
        each.numel()
        for name, each in attached.backbone.model.named_parameters()
        if f".adapters.{ADAPTER}." in name
    ]
    assert found.trainable == sum(own_weights) > 0
    assert 0 < found.before_mib <= found.peak_mib


def test_every_objective_is_measured(job: Job) -> None:
    named = {
        objective
        for case in CASES
        for objective in recipe(replace(job, case=case), LANGUAGES).adapters[ADAPTER].objectives
    }
    assert named == set(Objective)
    short = replace(job, warmup_steps=0, timed_steps=1)
    for case in CASES:
        found = measure(replace(short, case=case))
        assert all(0 < loss < 20 for loss in found.losses), (case, found.losses)


def test_the_time_is_that_of_the_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 101.0, 104.0])  # one step to warm up, two that count, their end
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock(JOB)
    for _ in range(3):
        clock.begin_step()
    with pytest.raises(RuntimeError, match="3 steps of 4"):
        clock.measurement(torch.nn.Linear(1, 1), {})
    clock.begin_step()
    assert clock.measurement(torch.nn.Linear(1, 1), {}).texts_per_s == 2 * 8 * 2 / 4.0
    assert clock.measurement(torch.nn.Linear(1, 1), {}, 12.0).texts_per_s == 2 * 8 * 2 / 16.0


def test_sides_take_turns_and_objectives_without_counterpart_have_one() -> None:
    turns: list[tuple[str, str]] = []

    def run(side: str, job: Job) -> Measurement:
        turns.append((side, job.case))
        return FOUND

    outcomes = alternate([JOB, replace(JOB, case="tcm")], 2, run)
    assert turns == [(OURS, "info_nce"), (PEER, "info_nce"), (OURS, "tcm")] * 2
    assert [(len(each.ours), len(each.theirs)) for each in outcomes] == [(2, 2), (2, 0)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"versions": {**FOUND.versions, "torch": "2.1"}}, "torch is 2 here and 2.1"),
        ({"trainable": 11}, "ours trains 10 weights and theirs 11"),
        ({"losses": (2.001, 1.5, 1.0)}, r"2\.000000, .* and 2\.001000, .* 5\.0e-04 apart"),
        ({"losses": (2.0, 1.5, 1.001)}, "allowed is 1e-04"),
        ({"losses": (2.0, 1.5, math.nan)}, "apart"),
        ({"losses": (math.nan, 1.5, 1.0)}, "apart"),
    ],
)
def test_what_does_not_train_alike_is_refused(other: dict[str, object], message: str) -> None:
    theirs = replace(FOUND, **other)  # type: ignore[arg-type]
    with pytest.raises(Disagreement, match=message):
        alternate([JOB], 1, lambda side, _: FOUND if side == OURS else theirs)


def test_rounding_and_later_steps_are_not_refused() -> None:
    near = replace(FOUND, losses=(2.0 + 1e-4, 1.5, 1.0, 9.0))
    check_alike(JOB, FOUND, near)
    far = replace(FOUND, losses=(2.02, 1.5, 1.0, 9.0))
    check_alike(replace(JOB, precision="bfloat16"), FOUND, far)


def _row(lines: list[str], case: str) -> list[str]:
    (line,) = (line for line in lines if line.startswith(f"| {case} |"))
    return line.strip("| ").split(" | ")


def test_ratios_are_taken_round_by_round() -> None:
    ours = [replace(FOUND, texts_per_s=speed) for speed in (100.0, 300.0, 200.0)]
    theirs = [
        replace(FOUND, texts_per_s=speed, peak_mib=peak)
        for speed, peak in ((50.0, 1000.0), (100.0, 1500.0), (400.0, 1200.0))
    ]
    alone = [replace(FOUND, texts_per_s=speed) for speed in (50.0, 60.0, 150.0)]
    outcomes = [Outcome(JOB, ours, theirs), Outcome(replace(JOB, case="tcm"), alone, [])]
    lines = list(report(outcomes, "a machine", "some texts"))
    assert _row(lines, "info_nce") == [
        "info_nce",
        "MultipleNegativesRankingLoss",
        "200 (100 to 300)",
        "100 (50 to 400)",
        "2.00 (0.50 to 3.00)",
        "900 (500)",
        "1,500 (500)",
        "0e+00",
    ]
    assert _row(lines, "tcm") == ["tcm", "60 (50 to 150)", "0.50 (0.20 to 0.75)", "900 (500)"]
    assert "a machine" in lines[0]
    assert "torch 2" in lines[1]
    assert "of some texts" in lines[2]


def test_cuda_memory_is_reported_where_there_is_cuda() -> None:
    job, found = replace(JOB, device="cuda"), replace(FOUND, peak_cuda_mib=1234.0)
    outcomes = [Outcome(job, [found], [found]), Outcome(replace(job, case="tcm"), [found], [])]
    lines = list(report(outcomes, "a machine", "some texts"))
    assert _row(lines, "info_nce")[-3:-1] == ["1,234", "1,234"]
    assert _row(lines, "tcm")[-1] == "1,234"
    tables = [line for line in lines if line.startswith("|")]
    for title, rule, row in (tables[:3], tables[3:]):
        assert title.count("|") == rule.count("|") == row.count("|")


def test_pairs_travel_whole_and_batches_are_the_samplers(job: Job, tmp_path: Path) -> None:
    made = pairs.made_up()
    pairs.write(tmp_path / "made.json", made)
    read = pairs.read(tmp_path / "made.json")
    assert read == made
    plan = recipe(job, tuple(made))
    here, there = (pairs.translations(each, plan).sampler for each in (made, read))
    for number in range(3):
        assert here.batch(number, 16) == there.batch(number, 16)
    lengths = {len(pair.other.split()) for pool in made.values() for pair in pool}
    assert lengths == set(range(3, 41))


def test_a_corpus_is_sampled_evenly(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_SAMPLED", 25)
    found = pairs.sample(corpus.path, ("de", "ja"))
    assert set(found) == {"de", "ja"}
    for pool in found.values():
        numbers = [int(pair.id.split(".")[1]) for pair in pool]
        assert {after - before for before, after in itertools.pairwise(numbers)} == {3}
        assert len(pool) == 20  # of 60


def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)peer, info_nce in float32: .*No module named"):
        processes({PEER: sys.executable})(PEER, JOB)


def test_it_prints_a_table_of_fresh_processes(bert_folder: Path, tmp_path: Path) -> None:
    # In place of the peer, whose libraries are not installed here, ours once more.
    twin = tmp_path / "python"
    twin.write_text(f'#!/bin/sh\nexec {sys.executable} -m benchmarks.training_speed.ours "$3" "$4"')
    twin.chmod(0o755)
    arguments = f"--case info_nce --precision float32 --rounds 1 --threads 1 --steps 2 --warmup 3 \
        --batch-pairs 4 --max-tokens 32 --backbone {bert_folder} --peer-python {twin}"
    result = CliRunner().invoke(main, arguments.split(), catch_exceptions=False)
    lines = result.stdout.splitlines()
    row = _row(lines, "info_nce")
    assert row[1] == "MultipleNegativesRankingLoss"
    assert row[-1] == "0e+00"
    assert "1 threads; device cpu" in lines[0]
    assert "4 pairs a batch of made-up words" in lines[2]
    said = [line.split(":")[0] for line in result.stderr.splitlines()]
    assert said == ["info_nce, float32, ours", "info_nce, float32, peer"]
