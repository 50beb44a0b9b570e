from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training import stage
from training.errors import TrainingError
from training.metrics import Metrics, read_metrics
from training.stage import Stage, Stopped, Validation, train_stage

Hook = Callable[[int], None]


def _nothing(step: int) -> None:
    pass


class _Walk:
    """A random walk: its place after n steps depends on every draw, so that a lost, repeated or
    otherwise seeded step shows."""

    def __init__(self) -> None:
        self.place = torch.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.place = state_dict["place"].clone()

    def stage(
        self, steps: int, hook: Hook = _nothing, validation: Validation | None = None
    ) -> Stage:
        def step(number: int) -> Metrics:
            hook(number)
            self.place = self.place * 0.9 + torch.randn(3)
            return {"loss": 1.0 / (1 + number), "texts": 8}

        return Stage(
            name="walk",
            steps=steps,
            step=step,
            state={"walk": self},
            result="walk.pt",
            write_result=lambda file: torch.save(self.place, file),
            seed=3,
            validation=validation,
        )


def _place(folder: Path) -> torch.Tensor:
    place: torch.Tensor = torch.load(folder / "walk.pt")
    return place


def _stop_at(when: int, number: int = signal.SIGTERM) -> Hook:
    def hook(step: int) -> None:
        if step == when:
            os.kill(os.getpid(), number)

    return hook


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_once_and_the_stage_goes_on_there(tmp_path: Path, number: int) -> None:
    cost = train_stage(_Walk().stage(20), tmp_path / "unbroken")
    assert cost["steps"] == 20
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    cut = tmp_path / "cut"
    with pytest.raises(Stopped, match="stopped after step 8 of 20 and is saved"):
        train_stage(_Walk().stage(20, _stop_at(7, number)), cut)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert not (cut / "walk.pt").exists()
    seen: list[int] = []
    train_stage(_Walk().stage(20, seen.append), cut)
    assert seen == list(range(8, 20))
    assert torch.equal(_place(cut), _place(tmp_path / "unbroken"))
    assert [line["step"] for line in read_metrics(cut / "metrics.jsonl")] == [0, 10, 19]
    assert sorted(path.name for path in cut.iterdir()) == [
        *("metrics.jsonl", "metrics.svg", "walk.pt")
    ]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    def twice(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background job inherits an ignored SIGINT, which Python then leaves as it is.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_stage(_Walk().stage(3, twice), tmp_path)
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_steps_after_the_checkpoint_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    def cut_at_6(step: int) -> None:
        # Every step is saved up to the third, and none after it.
        monkeypatch.setattr(stage, "CHECKPOINT_EVERY_S", -1e9 if step < 3 else 1e9)
        if step == 6:
            raise Cut

    monkeypatch.setattr(stage, "LOG_EVERY_STEPS", 1)
    with pytest.raises(Cut):
        train_stage(_Walk().stage(9, cut_at_6), tmp_path / "cut")
    assert len(read_metrics(tmp_path / "cut" / "metrics.jsonl")) == 6
    monkeypatch.undo()
    seen: list[int] = []
    train_stage(_Walk().stage(9, seen.append), tmp_path / "cut")
    assert seen == list(range(3, 9))
    train_stage(_Walk().stage(9), tmp_path / "unbroken")
    assert torch.equal(_place(tmp_path / "cut"), _place(tmp_path / "unbroken"))


def test_a_loss_that_is_no_number_stops_it_and_is_not_saved(tmp_path: Path) -> None:
    walk = _Walk()

    def step(number: int) -> Metrics:
        return {"loss": math.inf if number == 2 else 1.0}

    broken = Stage("walk", 4, step, {"walk": walk}, "walk.pt", lambda file: None)
    with pytest.raises(TrainingError, match="walk: the loss is inf at step 2; lower the rate"):
        train_stage(broken, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_validation_comes_before_the_first_step_and_after_the_last(tmp_path: Path) -> None:
    walk = _Walk()
    done: list[int] = []
    plan = Validation(lambda: {"validation_loss": float(len(done))}, every_steps=4)
    train_stage(walk.stage(10, done.append, plan), tmp_path)
    held_out = {
        line["step"]: line["validation_loss"]
        for line in read_metrics(tmp_path / "metrics.jsonl")
        if "validation_loss" in line
    }
    # A line's step counts the steps done before it.
    assert held_out == {0: 0, 4: 4, 8: 8, 10: 10}


@pytest.mark.parametrize("cut_at", [None, 5])
def test_the_best_state_is_kept(tmp_path: Path, cut_at: int | None) -> None:
    places: dict[int, torch.Tensor] = {}
    done = {0: 0.1, 2: 0.2, 4: 0.9, 6: 0.9, 8: 0.3}
    now = 0

    def validated(walk: _Walk) -> Validation:
        def measure() -> Metrics:
            places[now] = walk.place.clone()
            return {"validation_accuracy": done[now]}

        return Validation(measure, every_steps=2, keep_best="validation_accuracy")

    def hook(step: int) -> None:
        nonlocal now
        now = step + 1
        if step == cut_at:
            os.kill(os.getpid(), signal.SIGTERM)

    walk = _Walk()
    if cut_at is not None:
        with pytest.raises(Stopped):
            train_stage(walk.stage(8, hook, validated(walk)), tmp_path)
        walk, cut_at = _Walk(), None
    cost = train_stage(walk.stage(8, hook, validated(walk)), tmp_path)
    assert (cost["best_step"], cost["best_validation_accuracy"]) == (4, 0.9)
    assert torch.equal(_place(tmp_path), places[4])
    assert not (tmp_path / "best.pt").exists()


def test_another_versions_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": {}, "step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="is another version's checkpoint"):
        train_stage(_Walk().stage(4), tmp_path)
