"""Both sides in turn, each measurement in a fresh process; refused where they train differently."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.training_speed.cases import CASES
from benchmarks.training_speed.side import Job, Measurement, read_measurement, write

ROOT = Path(__file__).resolve().parents[2]
OURS, PEER = "ours", "peer"
# Losses of this many first steps are compared, so the gradient and the optimizer's step are too.
COMPARED_STEPS = 3
# How far they may be apart, relative to the loss. In float32 the sides sum in another order; under
# bfloat16 autocast theirs computes cosines in bfloat16 too, and ours in float32.
TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "bfloat16": 2e-2}
# Of what both sides must have the same version.
_SHARED = ("Python", "torch", "transformers", "adapters")
# Of what a process that failed said.
_LAST_LINES = 12

# (side, job) -> what its process measured
Runner = Callable[[str, Job], Measurement]


class Disagreement(Exception):
    """The sides do not train the same, so their times cannot be compared."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measurements of one job, a round each; none of theirs where there is no counterpart."""

    job: Job
    ours: Sequence[Measurement]
    theirs: Sequence[Measurement]


def alternate(jobs: Sequence[Job], rounds: int, run: Runner) -> list[Outcome]:
    """Measure every job in `rounds` rounds: A B A B ….

    Raises Disagreement at the first pair of measurements that do not train the same.
    """
    outcomes = [Outcome(job, [], []) for job in jobs]
    for _ in range(rounds):
        outcomes = [_one_more(outcome, run) for outcome in outcomes]
    return outcomes


def _one_more(outcome: Outcome, run: Runner) -> Outcome:
    job = outcome.job
    ours = run(OURS, job)
    if CASES[job.case].counterpart is None:
        return Outcome(job, [*outcome.ours, ours], [])
    theirs = run(PEER, job)
    check_alike(job, ours, theirs)
    return Outcome(job, [*outcome.ours, ours], [*outcome.theirs, theirs])


def check_alike(job: Job, ours: Measurement, theirs: Measurement) -> None:
    """Raises Disagreement where versions, trainable weights or first losses differ."""
    where = f"{job.case} in {job.precision}"
    for name in _SHARED:
        if ours.versions[name] != theirs.versions[name]:
            raise Disagreement(
                f"{where}: {name} is {ours.versions[name]} here and {theirs.versions[name]} in the "
                "peer's environment; make it anew with the same version"
            )
    if ours.trainable != theirs.trainable:
        raise Disagreement(
            f"{where}: ours trains {ours.trainable} weights and theirs {theirs.trainable}"
        )
    gap, tolerance = loss_gap(ours, theirs), TOLERANCES[job.precision]
    if not gap <= tolerance:  # a loss that is no number is apart from everything
        raise Disagreement(
            f"{where}: the first losses are {_few(ours)} and {_few(theirs)}, {gap:.1e} apart; "
            f"allowed is {tolerance:.0e}"
        )


def loss_gap(ours: Measurement, theirs: Measurement) -> float:
    """The largest distance of the first steps' losses, relative to theirs; nan where one is."""
    gaps = [
        abs(own - other) / abs(other)
        for own, other in zip(_first(ours), _first(theirs), strict=True)
    ]
    return math.nan if any(map(math.isnan, gaps)) else max(gaps)


def _first(found: Measurement) -> tuple[float, ...]:
    return found.losses[:COMPARED_STEPS]


def _few(found: Measurement) -> str:
    return ", ".join(f"{loss:.6f}" for loss in _first(found))


def processes(python: Mapping[str, str]) -> Runner:
    """A runner that starts `python[side]` for each measurement.

    It raises RuntimeError with the process's last words where that fails.
    """

    def run(side: str, job: Job) -> Measurement:
        threads = str(job.threads)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        with TemporaryDirectory() as folder:
            given, found = Path(folder, "job.json"), Path(folder, "measurement.json")
            write(given, job)
            command = [python[side], "-m", f"{__package__}.{side}", str(given), str(found)]
            ended = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            if ended.returncode:
                raise RuntimeError(
                    f"{side}, {job.case} in {job.precision}: exit status {ended.returncode}\n"
                    + "\n".join(ended.stderr.splitlines()[-_LAST_LINES:])
                )
            measured = read_measurement(found)
        # The whole takes long: on stderr, to be seen to move.
        said = f"{job.case}, {job.precision}, {side}: {measured.texts_per_s:.1f} texts/s"
        click.echo(said, err=True)
        return measured

    return run
