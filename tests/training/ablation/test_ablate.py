"""A plan run as a user runs it: trained, cut, resumed, reported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.tiny_training import sentence
from tests.training.ablation.conftest import PlanWriter
from training import cli, contrastive, stage
from training.ablation import runner
from training.ablation.command import ablate, preview
from training.ablation.jobs import Choice
from training.ablation.measuring import EvaluationSets
from training.ablation.reader import RunReader
from training.ablation.runner import Place
from training.ablation.scores import read_failure, read_scores
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.suite import Selection, choose_tasks, evaluate
from training.objectives.contrastive import info_nce
from training.recipe import ContrastiveRecipe, Recipe
from training.run import read_run
from training.terms import vectors


def _ablate(
    file: Path, place: Place, backbone: Path, choice: Choice | None = None
) -> dict[str, Any]:
    """Run a plan; the `tau` table of its JSON report."""
    ablate(file, {"backbone": str(backbone)}, choice or Choice(), place, lambda text: None)
    report = json.loads((place.folder / f"{file.stem}.json").read_text())
    table: dict[str, Any] = report["tables"]["tau"]
    return table


class _Cut(BaseException):
    """As sudden as a kill: nothing that was not on disk is there afterwards."""


def _cut_at(step_to_cut: int) -> Callable[[int, ContrastiveRecipe], float]:
    rate = contrastive.learning_rate
    steps = 0

    def cut(step: int, plan: ContrastiveRecipe) -> float:
        nonlocal steps
        steps += 1
        if steps > step_to_cut:
            raise _Cut
        return rate(step, plan)

    return cut


def test_a_cut_ablation_goes_on_and_ends_as_an_unbroken_one(
    bert_folder: Path,
    write_plan: PlanWriter,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write_plan()
    unbroken = _ablate(file, Place(tmp_path / "unbroken", place.corpus, place.device), bert_folder)
    monkeypatch.setattr(stage, "CHECKPOINT_EVERY_S", -1e9)  # after every step
    with monkeypatch.context() as patch:
        patch.setattr(contrastive, "learning_rate", _cut_at(8))  # the second run, at its step 3
        with pytest.raises(_Cut):
            _ablate(file, place, bert_folder)
    finished = [run for run in (place.folder / "runs").iterdir() if read_scores(run).measured]
    cut = [run for run in (place.folder / "runs").iterdir() if (run / "sentence").exists()]
    (begun,) = set(cut) - set(finished)
    assert torch.load(begun / "sentence/checkpoint.pt", weights_only=True)["step"] == 3
    times = {run: (run / "scores.json").stat().st_mtime_ns for run in finished}
    resumed = _ablate(file, place, bert_folder)
    assert {run: (run / "scores.json").stat().st_mtime_ns for run in finished} == times
    assert len(read_run(begun)["sessions"]) == 2
    assert resumed["runs"] == unbroken["runs"]
    for row, measures in unbroken["values"].items():
        for measure, by_seed in measures.items():
            assert list(by_seed) == ["1", "2"]
            for seed, value in by_seed.items():
                # A text of twenty may fall otherwise by rounding.
                assert resumed["values"][row][measure][seed] == pytest.approx(value, abs=2.6)
    done = {run: read_run(run)["sessions"] for run in cut}
    _ablate(file, place, bert_folder)
    assert {run: read_run(run)["sessions"] for run in cut} == done  # nothing is trained again


def test_the_figures_are_those_of_the_suite_and_of_numpy(
    bert_folder: Path, write_plan: PlanWriter, place: Place
) -> None:
    file = write_plan()
    table = _ablate(file, place, bert_folder)
    name = table["runs"]["warm"][1]
    run = place.folder / "runs" / name
    recipe = Recipe.model_validate(read_run(run)["recipe"])
    assert (recipe.seed, recipe.adapters["sentence"].temperature) == (2, 0.5)
    reader = RunReader.open(recipe, run, place.device)
    selection = Selection(choose_tasks(["tatoeba", "xsim"]), Languages.parse(["de", "fr"]))
    # The suite routes texts of every granularity, and this run has one adapter.
    expected = evaluate(_Routed(reader), place.corpus.evaluation, selection, "bundle")
    for measure, task in (("Tatoeba", "tatoeba"), ("xsim", "xsim")):
        scores = expected.tasks[task]
        assert table["values"]["warm"][measure]["2"] == scores.value(scores.systems["sentence"])
        assert table["values"]["plain"][measure]["2"] == scores.value(scores.systems["none"])
    by_seed = table["values"]["cold"]["Tatoeba"]
    values = np.array(list(by_seed.values()))
    cell = f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
    markdown = (place.folder / "plan.md").read_text()
    line = next(line for line in markdown.splitlines() if line.startswith("| cold |"))
    assert cell in line.replace("**", "")
    assert line.endswith("| 70.8 |")
    page = (place.folder / "plan.html").read_text()
    assert cell in page
    session = read_run(run)["sessions"][0]
    for text in (markdown, page):
        assert "seeds: 1, 2" in text
        assert f"backbone: {bert_folder}" in text
        assert f"{session['cpu_threads']} threads, torch {torch.__version__}" in text
    differences = table["claims"][0]["comparisons"][0]["differences"]
    other = table["values"]["warm"]["Tatoeba"]
    assert differences == {seed: pytest.approx(by_seed[seed] - other[seed]) for seed in by_seed}
    spent = read_scores(run).spent
    assert (spent.steps, spent.texts) == (5, 5 * 8 * 2)
    assert spent.measured_texts == expected.tasks["tatoeba"].texts


class _Routed:
    """A reader whose one adapter is routed to from everywhere."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        model = reader.model
        routing = dict.fromkeys(("phrase", "sentence", "paragraph"), "sentence")
        fields = {name: getattr(model, name) for name in model.__slots__}
        self.model = type(model)(**{**fields, "routing": routing})
        self.embed = reader.embed
        self.embed_words = reader.embed_words


def test_an_arm_that_fails_is_shown_with_its_reason_and_tried_again(
    bert_folder: Path,
    write_plan: PlanWriter,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write_plan()
    nan = "sentence: the loss is nan at step 0; lower the rate"

    def damaged(
        left: torch.Tensor,
        right: torch.Tensor,
        temperature: float,
        **named: Any,  # noqa: ANN401
    ) -> torch.Tensor:
        loss = info_nce(left, right, temperature, **named)
        return loss * math.nan if temperature == 0.5 else loss

    with monkeypatch.context() as patch:
        patch.setattr(vectors, "info_nce", damaged)
        table = _ablate(file, place, bert_folder)
    assert table["failures"] == {"plain": {}, "cold": {}, "warm": {"1": nan, "2": nan}}
    assert table["claims"][0]["verdict"] == "not measured"
    markdown = (place.folder / "plan.md").read_text()
    assert "| warm | failed | failed |" in markdown
    assert f"- warm, seed 2: {nan}" in markdown
    assert nan in (place.folder / "plan.html").read_text()
    table = _ablate(file, place, bert_folder)
    assert table["failures"] == {"plain": {}, "cold": {}, "warm": {}}
    for name in table["runs"]["warm"]:
        assert read_failure(place.folder / "runs" / name) is None


def test_a_signal_is_no_failure_of_the_arm(
    bert_folder: Path,
    write_plan: PlanWriter,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise stage.Stopped("sentence stopped after step 2 of 5 and is saved")

    monkeypatch.setattr(runner, "train", stopped)
    with pytest.raises(stage.Stopped):
        _ablate(write_plan(), place, bert_folder, Choice(arms=("cold",)))
    assert not list(place.folder.rglob("failure.json"))


def test_a_measure_that_comes_later_is_measured_without_training(
    bert_folder: Path, write_plan: PlanWriter, place: Place
) -> None:
    without = ("[tables.tau]", "[tables.tau]\nmeasures = ['Tatoeba']")
    choice = Choice(arms=("cold",))
    table = _ablate(write_plan(without), place, bert_folder, choice)
    runs = [place.folder / "runs" / name for name in table["runs"]["cold"]]
    before = [(read_run(run)["sessions"], read_scores(run)) for run in runs]
    table = _ablate(write_plan(), place, bert_folder, choice)
    assert set(table["values"]["cold"]) == {"Tatoeba", "xsim"}
    for run, (sessions, scores) in zip(runs, before, strict=True):
        assert read_run(run)["sessions"] == sessions
        now = read_scores(run).measured["sentence"]
        assert now.items() > scores.measured["sentence"].items()
        assert len(now) == 2


def test_only_the_arms_that_were_chosen_are_trained(
    bert_folder: Path, write_plan: PlanWriter, place: Place
) -> None:
    table = _ablate(write_plan(), place, bert_folder, Choice(arms=("plain",)))
    assert len(list((place.folder / "runs").iterdir())) == 1
    assert table["values"]["cold"] == {"Tatoeba": {}, "xsim": {}}
    assert "| cold | not run | not run | 70.8 |" in (place.folder / "plan.md").read_text()


def test_what_is_wrong_for_every_arm_stops_before_any_is_trained(
    bert_folder: Path, write_plan: PlanWriter, place: Place, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no encoder at"):
        _ablate(write_plan(), place, tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="the test set of tatoeba has none of tr"):
        _ablate(
            write_plan(('["de", "fr"]\n\n[measures.xsim]', '["tr"]\n\n[measures.xsim]')),
            place,
            bert_folder,
        )
    with pytest.raises(TrainingError, match="has no stsb_dev"):
        _ablate(write_plan(('task = "xsim"', 'task = "sts"')), place, bert_folder)
    assert not (place.folder / "runs").exists()


def test_a_folder_belongs_to_its_corpus_and_to_one_process(
    bert_folder: Path, write_plan: PlanWriter, place: Place, test_sets_folder: Path
) -> None:
    choice = Choice(arms=("plain",))
    _ablate(write_plan(), place, bert_folder, choice)
    other = Place(
        place.folder, type(place.corpus)(test_sets_folder, test_sets_folder), place.device
    )
    with pytest.raises(TrainingError, match="was made with another corpus_sha256; use a new"):
        _ablate(write_plan(), other, bert_folder, choice)
    estimates = runner.run_jobs([], place, EvaluationSets(place.corpus.evaluation))
    with runner.claimed(place), pytest.raises(TrainingError, match="in use by another process"):
        next(estimates)


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(
    bert_folder: Path, write_plan: PlanWriter, place: Place
) -> None:
    inputs = {"backbone": str(bert_folder)}
    text = preview(write_plan(), inputs, Choice(), place, 1.0)
    assert not place.folder.exists()
    rows: Mapping[str, list[str]] = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split("|") for line in text.splitlines() if line.startswith("|"))
    }
    # 5 steps of 8 pairs; each text of Tatoeba is read once, for both tasks over it.
    texts = len({sentence(each, n, 4) for each in ("en", "de", "fr") for n in range(20)})
    assert rows["tau, cold"][:4] == ["2 (0 done)", "5", "80", str(texts)]
    assert rows["tau, plain"][:4] == ["1 (0 done)", "0", "0", str(texts)]
    # 32 tokens a sentence: two arms at two seeds train, five runs are measured.
    tokens = (4 * 80 + 5 * texts) * 32
    expected = f"tau: 5 runs, about 0 M tokens to go, {tokens / 3600:.1f} hours at 1 tokens/s"
    assert expected in text
    _ablate(write_plan(), place, bert_folder, Choice(arms=("plain",)))
    assert "| tau, plain | 1 (1 done) |" in preview(write_plan(), inputs, Choice(), place, 1000.0)


def test_from_the_command_line(bert_folder: Path, write_plan: PlanWriter, place: Place) -> None:
    command = ["ablate", "--plan", str(write_plan()), "--corpus", str(place.corpus.path)]
    command += ["--evaluation", str(place.corpus.evaluation), "--run", str(place.folder)]
    command += ["--arms", "plain", "--device", "cpu"]
    with pytest.raises(TrainingError, match="tau, plain needs --input backbone=VALUE: hub name"):
        CliRunner().invoke(cli.cli, command, catch_exceptions=False)
    with pytest.raises(TrainingError, match="--input is 'backbone'; give NAME=VALUE"):
        CliRunner().invoke(cli.cli, [*command, "--input", "backbone"], catch_exceptions=False)
    command += ["--input", f"backbone={bert_folder}"]
    dry = CliRunner().invoke(cli.cli, [*command, "--dry-run"], catch_exceptions=False)
    assert dry.stdout.splitlines()[2].startswith("| tau, plain | 1 (0 done) |")
    done = CliRunner().invoke(cli.cli, command, catch_exceptions=False)
    assert done.exit_code == 0
    wrote = [line for line in done.stderr.splitlines() if line.startswith("wrote ")]
    assert [Path(line[6:]).name for line in wrote] == ["plan.md", "plan.html", "plan.json"]
