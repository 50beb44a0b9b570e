"""Our side: the stage that `polygrain-train adapters` makes of a recipe, in its loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training_speed import pairs
from benchmarks.training_speed.cases import ADAPTER, recipe
from benchmarks.training_speed.side import Clock, Job, Measurement, main
from training import adapters
from training.backbone import Backbone
from training.contrastive import Result, contrastive_stage
from training.data import adapter_data
from training.metrics import Metrics
from training.stage import Stage, train_stage
from training.trainer import ADAPTER_FILE, encoders, open_teacher


def measure(job: Job) -> Measurement:
    """Train a job as `training.trainer` would, without validation.

    Raises TrainingError where the trainer does.
    """
    pool = pairs.read(Path(job.pairs))
    plan = recipe(job, tuple(pool))
    backbone = Backbone.open(plan.backbone, plan.half_weights)
    encoder, teacher = encoders(
        plan, backbone, open_teacher(plan, backbone), torch.device(job.device)
    )
    stage = contrastive_stage(
        ADAPTER,
        encoder,
        plan,
        plan.adapters[ADAPTER],
        [ADAPTER],
        adapter_data(pairs.translations(pool, plan), ADAPTER),
        Result(ADAPTER_FILE, partial(_save, backbone)),
        teacher,
    )
    clock = Clock(job)
    with TemporaryDirectory() as folder:
        train_stage(_timed(stage, clock), Path(folder))
    return clock.measurement(backbone.model, {})


def _timed(stage: Stage, clock: Clock) -> Stage:
    def step(number: int) -> Metrics:
        clock.begin_step()
        metrics = stage.step(number)
        clock.losses.append(metrics["loss"])
        return metrics

    return replace(stage, step=step)


def _save(backbone: Backbone, file: Path) -> None:
    adapters.save(file, adapters.weights(backbone.model, ADAPTER))


if __name__ == "__main__":
    main(measure)
