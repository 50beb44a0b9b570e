"""One stage of a run: steps that can be cut anywhere and go on where they were."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from tqdm import tqdm

from training.errors import TrainingError
from training.files import replace
from training.metrics import Metrics, MetricsLog
from training.processes import anyone

CHECKPOINT_EVERY_S = 30.0
LOG_EVERY_STEPS = 10
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"

_log = logging.getLogger(__name__)


class Stateful(Protocol):
    """What a checkpoint can hold: a module, an optimizer, or anything else that says its state in
    tensors, numbers, strings, lists and dicts."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class Stopped(TrainingError):
    """A signal stopped a stage after its checkpoint was written."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How a stage is measured on what it does not train on, before its first step, every so many
    steps and after its last."""

    measure: Callable[[], Metrics]
    every_steps: int
    # A metric that rises as the model gets better: the stage's result is then the state that had
    # the most of it, and not the last.
    keep_best: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A number of steps over some state, and the file or folder that comes out of them.

    `step(n)` trains step n and returns its metrics, `loss` among them, and `texts` where throughput
    is to be shown. What it computes may depend on nothing but n and `state`: then a stage that was
    cut ends where an unbroken one does. torch's generators are seeded by `seed` and n before it.
    """

    name: str
    steps: int
    step: Callable[[int], Metrics]
    state: Mapping[str, Stateful]
    result: str
    write_result: Callable[[Path], object]
    seed: int = 0
    validation: Validation | None = None


def train_stage(stage: Stage, folder: Path) -> dict[str, float]:
    """Train `stage` in `folder` to its end and write its result; return what it cost.

    A checkpoint is written every `CHECKPOINT_EVERY_S`, and after the running step on SIGTERM and
    SIGINT, which then raise Stopped; a second signal does not wait for the step. Calling it again
    goes on from there.

    Raises TrainingError where a loss is no number; the last checkpoint stays as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, seconds_before = _restore(stage, folder)
    seconds = time.monotonic
    saved_at = seconds()
    started_at = saved_at - seconds_before
    saving_took = 0.0
    best = _Best.of(stage, folder)
    with (
        MetricsLog.open(folder, first) as log,
        _signals() as stop,
        tqdm(
            total=stage.steps, initial=first, desc=stage.name, unit="step", mininterval=0.5
        ) as bar,
    ):
        texts, session_started_at = 0.0, seconds()
        for step in range(first, stage.steps):
            validation = _validate(stage, step, best)
            metrics = _step(stage, step)
            loss = metrics["loss"]
            texts += metrics.pop("texts", 0.0)
            metrics["texts_per_s"] = texts / (seconds() - session_started_at)
            speed = f", {metrics['texts_per_s']:.0f} texts/s" if texts else ""
            bar.set_postfix_str(f"loss {loss:.3f}{speed}", refresh=False)
            bar.update()
            if validation or step % LOG_EVERY_STEPS == 0 or step == stage.steps - 1:
                log.write({"step": step, **metrics, **validation})
            # A large state is saved less often, so that saving never costs a twentieth.
            due = seconds() - saved_at > CHECKPOINT_EVERY_S + 20 * saving_took
            ends = anyone(bool(stop))
            if ends or due:
                began = seconds()
                _save(stage, folder / CHECKPOINT, step + 1, began - started_at)
                saved_at = seconds()
                saving_took = saved_at - began
            if ends:
                raise _stopped(stage, step)
        if last := _validate(stage, stage.steps, best):
            log.write({"step": stage.steps, **last})
    cost = {"steps": stage.steps, "seconds": round(seconds() - started_at, 1)}
    if best is not None:
        cost |= best.restore()
    replace(folder / stage.result, stage.write_result)
    for file in (CHECKPOINT, BEST):
        (folder / file).unlink(missing_ok=True)
    return cost


def follow_stage(stage: Stage, folder: Path) -> None:
    """Take part in the steps of a stage that another process trains in `folder`, from the same
    checkpoint, and write nothing.

    Raises what `train_stage` raises, at the same step.
    """
    first, _ = _restore(stage, folder)
    with _signals() as stop:
        for step in range(first, stage.steps):
            _step(stage, step)
            if anyone(bool(stop)):
                raise _stopped(stage, step)


def _step(stage: Stage, step: int) -> dict[str, float]:
    torch.manual_seed(_step_seed(stage.seed, step))
    metrics = dict(stage.step(step))
    if not math.isfinite(loss := metrics["loss"]):
        raise TrainingError(f"{stage.name}: the loss is {loss} at step {step}; lower the rate")
    return metrics


def _stopped(stage: Stage, step: int) -> Stopped:
    return Stopped(
        f"{stage.name} stopped after step {step + 1} of {stage.steps} and is saved; "
        "the same command goes on from there"
    )


class _Best:
    """The state that a stage's validation liked most, kept in a file beside the checkpoint."""

    def __init__(self, stage: Stage, file: Path, metric: str) -> None:
        self._stage, self._file, self._metric = stage, file, metric
        saved = torch.load(file, weights_only=True) if file.exists() else {}
        self._value, self._step = saved.get("value", -math.inf), saved.get("step", 0)

    @classmethod
    def of(cls, stage: Stage, folder: Path) -> _Best | None:
        if stage.validation is None or stage.validation.keep_best is None:
            return None
        return cls(stage, folder / BEST, stage.validation.keep_best)

    def consider(self, step: int, metrics: Metrics) -> None:
        if metrics[self._metric] > self._value:
            self._value, self._step = metrics[self._metric], step
            held = {**_state(self._stage), "step": step, "value": self._value}
            replace(self._file, lambda path: torch.save(held, path))

    def restore(self) -> dict[str, float]:
        _load(self._stage, torch.load(self._file, map_location="cpu", weights_only=True))
        return {"best_step": self._step, f"best_{self._metric}": self._value}


def _validate(stage: Stage, step: int, best: _Best | None) -> dict[str, float]:
    """What the held-out texts say after `step` steps, where it is time to ask them."""
    plan = stage.validation
    if plan is None or (step % plan.every_steps != 0 and step != stage.steps):
        return {}
    metrics = dict(plan.measure())
    if best is not None:
        best.consider(step, metrics)
    return metrics


def _state(stage: Stage) -> dict[str, Any]:
    return {"state": {name: part.state_dict() for name, part in stage.state.items()}}


def _load(stage: Stage, saved: dict[str, Any]) -> None:
    for name, part in stage.state.items():
        part.load_state_dict(saved["state"][name])


def _save(stage: Stage, file: Path, steps_done: int, seconds: float) -> None:
    held = {**_state(stage), "step": steps_done, "seconds": seconds}
    replace(file, lambda path: torch.save(held, path))
    _log.debug("event=checkpoint stage=%s step=%d", stage.name, steps_done)


def _restore(stage: Stage, folder: Path) -> tuple[int, float]:
    """Load the checkpoint; return the steps done and the seconds that they took."""
    file = folder / CHECKPOINT
    if not file.exists():
        return 0, 0.0
    saved = torch.load(file, map_location="cpu", weights_only=True)
    if set(saved) != {"state", "step", "seconds"} or set(saved["state"]) != set(stage.state):
        raise TrainingError(
            f"{file} is another version's checkpoint; finish the stage with that version, or "
            "delete the file to begin the stage anew"
        )
    _load(stage, saved)
    return saved["step"], saved["seconds"]


def _step_seed(seed: int, step: int) -> int:
    """A seed for torch that differs from step to step and from run to run."""
    return (seed * 1_000_003 + step) % (1 << 63)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT fill instead of ending the process, the first time."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
