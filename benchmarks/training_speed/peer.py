"""Their side: SentenceTransformerTrainer on the same model, batches, loss and optimizer.

Runs in an environment that has sentence-transformers (docs/training.md), which this project's own
has not.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
    models,
)
from sentence_transformers.sampler import DefaultBatchSampler
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

import training.backbone  # noqa: F401 - registers our encoders with transformers
from benchmarks.training_speed import pairs
from benchmarks.training_speed.cases import ADAPTER, CASES, recipe, taught
from benchmarks.training_speed.side import Clock, Job, Measurement, main
from training import adapters
from training.contrastive import GRADIENT_NORM
from training.corpora.tsv import Pair
from training.objectives.cosine import cosines
from training.recipe import Recipe
from training.stage import LOG_EVERY_STEPS


def measure(job: Job) -> Measurement:
    """Train a job by their trainer, in its defaults where ours has nothing to say."""
    pool = pairs.read(Path(job.pairs))
    plan = recipe(job, tuple(pool))
    sampler = pairs.translations(pool, plan).sampler
    batches = [sampler.batch(number, job.batch_pairs) for number in range(job.total_steps)]
    model, trained = _model(job, plan)
    rows, label_seconds = _rows(job, batches)
    loss = _loss(job, model)
    clock = Clock(job)
    loss.register_forward_hook(lambda _, __, value: clock.losses.append(value.detach()))
    optimizer = torch.optim.AdamW(trained, lr=job.learning_rate, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, job.total_steps)
    with TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=job.batch_pairs,
                num_train_epochs=1,
                batch_sampler=_in_order,
                bf16=job.precision == "bfloat16",
                use_cpu=job.device == "cpu",
                max_grad_norm=GRADIENT_NORM,
                logging_steps=LOG_EVERY_STEPS,
                save_strategy="no",
                report_to="none",
                seed=job.seed,
            ),
            train_dataset=Dataset.from_list(rows),
            loss=loss,
            optimizers=(optimizer, schedule),
            callbacks=[_Timer(clock)],
        )
        trainer.train()
    clock.losses = [float(each) for each in clock.losses]
    versions = {"sentence-transformers": sentence_transformers.__version__}
    return clock.measurement(model, versions, label_seconds)


class _Timer(TrainerCallback):  # type: ignore[misc]
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - transformers'
        self._clock.begin_step()


def _model(job: Job, plan: Recipe) -> tuple[SentenceTransformer, list[nn.Parameter]]:
    """The same frozen backbone with the same fresh adapter, and what of it is trained."""
    transformer = _transformer(job.backbone, job)
    torch.manual_seed(plan.seed)
    adapters.attach_kinds(transformer.auto_model, {ADAPTER: plan.kind_of(ADAPTER)})
    trained = adapters.select(transformer.auto_model, ADAPTER, train=True)
    return _pooled(transformer, job), trained


def _transformer(source: str, job: Job) -> models.Transformer:
    # Our trainer keeps a frozen encoder in evaluation mode; theirs does not, so dropout is zero.
    without_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    transformer = models.Transformer(
        source,
        max_seq_length=job.max_tokens,
        model_kwargs={"dtype": torch.float32},
        config_kwargs=without_dropout,
    )
    if getattr(transformer.auto_model, "pooler", None) is not None:
        transformer.auto_model.pooler = None  # the mean of states pools, on both sides
    return transformer


def _pooled(transformer: models.Transformer, job: Job) -> SentenceTransformer:
    pooling = models.Pooling(int(transformer.auto_model.config.hidden_size), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling], device=job.device)


def _rows(job: Job, batches: list[list[Pair]]) -> tuple[list[dict[str, Any]], float]:
    """The dataset, and the seconds that a teacher's labels took for the timed steps.

    Their trainer takes a teacher's vectors as a column, made before training.
    """
    rows: list[dict[str, Any]] = [
        {"anchor": pair.english, "positive": pair.other} for batch in batches for pair in batch
    ]
    if not taught(CASES[job.case]):
        return rows, 0.0
    teacher = _pooled(_transformer(job.teacher, job), job)
    autocast = torch.autocast(job.device, torch.bfloat16, enabled=job.precision == "bfloat16")
    seconds = 0.0
    for number, batch in enumerate(batches):
        began = time.perf_counter()
        with autocast:
            vectors: Tensor = teacher.encode(
                [pair.english for pair in batch], show_progress_bar=False, convert_to_tensor=True
            )
            labels = vectors.float().tolist()
        if job.warmup_steps <= number < job.warmup_steps + job.timed_steps:
            seconds += time.perf_counter() - began
        own = rows[number * job.batch_pairs : (number + 1) * job.batch_pairs]
        for row, label in zip(own, labels, strict=True):
            row["label"] = label
    return rows, seconds


def _loss(job: Job, model: SentenceTransformer) -> nn.Module:
    name = CASES[job.case].counterpart
    if name is None:
        raise ValueError(f"{job.case} has no counterpart in sentence-transformers")
    options: dict[str, Any] = {}
    if name != "MSELoss":
        options["scale"] = 1 / job.temperature
        # Theirs would be computed in bfloat16 under autocast: another loss, and no cheaper.
        options["similarity_fct"] = cosines
    if name == "CachedMultipleNegativesRankingLoss":
        options["mini_batch_num_tokens"] = job.chunk_tokens
    found: nn.Module = getattr(losses, name)(model, **options)
    return found


def _in_order(dataset: Dataset, batch_size: int, drop_last: bool, **_: Any) -> DefaultBatchSampler:  # noqa: ANN401
    return DefaultBatchSampler(
        SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last
    )


if __name__ == "__main__":
    main(measure)
