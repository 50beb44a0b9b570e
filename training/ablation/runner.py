"""Train and measure the runs of a plan that are not done yet; a cut at any point costs little.

runs/NAME/run.json …      a run folder (`training.run`), for a run that trains
runs/NAME/scores.json     what was measured of it
runs/NAME/failure.json    why it failed when it was tried last; gone when it succeeds
subsets/DIGEST/           what runs train on, where the plan wants a subset
ablation.json             what decides besides recipes: sha256 of the corpus and the test sets
"""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from tqdm import tqdm

from training.ablation.cost import Cost, measuring_tokens, training_cost
from training.ablation.jobs import Job, Wanted
from training.ablation.measuring import EvaluationSets, count_texts, measure
from training.ablation.plan import Measure
from training.ablation.reader import RunReader
from training.ablation.scores import (
    FAILURE_FILE,
    Failure,
    Spent,
    read_scores,
    write_failure,
    write_scores,
)
from training.ablation.subset import write_subset
from training.backbone import Backbone
from training.data import Corpus
from training.errors import TrainingError
from training.files import replace
from training.run import RUN_FILE, read_run, sha256_of
from training.stage import Stopped
from training.trainer import finished_adapter, train

RUNS = "runs"
SUBSETS = "subsets"
RECORD_FILE = "ablation.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an ablation works, and on what."""

    folder: Path
    corpus: Corpus
    device: torch.device

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.folder / RUNS / name


@dataclass(frozen=True, slots=True)
class Estimate:
    """Roughly what is left of a run, and what it is as a whole."""

    job: Job
    training: Cost
    measured_texts: int
    # About, of training and measuring together.
    tokens: int
    is_done: bool


def estimate(jobs: Sequence[Job], place: Place, test_sets: EvaluationSets) -> list[Estimate]:
    """What each run takes. Every test set is read for it, so that a missing one is told before
    anything is trained."""
    found = []
    for job in jobs:
        by_adapter: dict[str, list[Measure]] = {}
        for each in job.wanted:
            by_adapter.setdefault(each.adapter, []).append(each.measure)
        texts = [count_texts(measures, test_sets) for measures in by_adapter.values()]
        training = training_cost(job)
        found.append(
            Estimate(
                job,
                training,
                sum(sum(each.values()) for each in texts),
                training.tokens + sum(map(measuring_tokens, texts)),
                not _missing(job, place.run(job.name)),
            )
        )
    return found


def run_jobs(
    estimates: Sequence[Estimate], place: Place, test_sets: EvaluationSets
) -> Iterator[Job]:
    """Train and measure what is not done yet, and name each run that has come to an end, in scores
    or in a failure.

    A run that failed before is tried again, from its last checkpoint. Raises Stopped where a signal
    stops it, and TrainingError where the folder was made with another corpus or other test sets,
    another process works in it, or there is no backbone; what an arm does wrong is its failure.
    """
    with claimed(place):
        pending = [each for each in estimates if not each.is_done]
        for source in dict.fromkeys(each.job.recipe.backbone for each in pending):
            Backbone.open(source, half_weights=False)  # told now, and not by every arm
        for each in pending:
            if each.job.trained:
                _corpus_of(each.job, place)
        with tqdm(
            total=sum(each.tokens for each in estimates),
            initial=sum(each.tokens for each in estimates if each.is_done),
            desc="ablation",
            unit="token",
            unit_scale=True,
            smoothing=0,
        ) as bar:
            for number, each in enumerate(pending, start=1):
                bar.set_postfix_str(f"run {number} of {len(pending)}")
                _try(each, place, test_sets)
                bar.update(each.tokens)
                yield each.job


def _try(wanted: Estimate, place: Place, test_sets: EvaluationSets) -> None:
    job = wanted.job
    run = place.run(job.name)
    try:
        _run(wanted, place, test_sets)
    except Stopped:
        raise
    except (TrainingError, RuntimeError, MemoryError) as error:
        # torch raises RuntimeError where memory runs out, among others.
        _log.warning("event=run_failed run=%s", job.name, exc_info=error)
        reason = str(error).strip() or type(error).__name__
        write_failure(run, Failure(reason=reason, at=datetime.now(UTC).isoformat("T", "seconds")))
    else:
        (run / FAILURE_FILE).unlink(missing_ok=True)


def _run(wanted: Estimate, place: Place, test_sets: EvaluationSets) -> None:
    job = wanted.job
    run = place.run(job.name)
    if job.trained and not _is_trained(job, run):
        train(job.recipe, _corpus_of(job, place), run, place.device)
    scores = read_scores(run)
    spent = _trained(scores.spent, wanted.training, run) if job.trained else scores.spent
    reader = RunReader.open(job.recipe, run if job.trained else None, place.device)
    missing = _missing(job, run)
    for adapter in dict.fromkeys(each.adapter for each in missing):
        measures = [each.measure for each in missing if each.adapter == adapter]
        began = time.monotonic()
        found = measure(reader, adapter, measures, test_sets)
        texts = count_texts(measures, test_sets)
        spent = spent.model_copy(
            update={
                "measuring_s": round(spent.measuring_s + time.monotonic() - began, 1),
                "measured_texts": spent.measured_texts + sum(texts.values()),
            }
        )
        scores = scores.with_measured(adapter, found, spent)
        write_scores(run, scores)


def _is_trained(job: Job, run: Path) -> bool:
    if not (run / RUN_FILE).exists():
        return False
    return all(finished_adapter(run, name).exists() for name in job.recipe.served)


def _missing(job: Job, run: Path) -> list[Wanted]:
    measured = read_scores(run).measured
    return [each for each in job.wanted if each.measure.key not in measured.get(each.adapter, {})]


def _trained(spent: Spent, cost: Cost, run: Path) -> Spent:
    stages = read_run(run).get("stages", {})
    seconds = sum(each["seconds"] for each in stages.values())
    update = {"steps": cost.steps, "texts": cost.texts, "training_s": round(seconds, 1)}
    return spent.model_copy(update=update)


def _corpus_of(job: Job, place: Place) -> Corpus:
    if job.subset is None:
        return place.corpus
    folder = place.folder / SUBSETS
    path = write_subset(job.subset, job.recipe, place.corpus, folder)
    return Corpus(path, place.corpus.evaluation)


@contextmanager
def claimed(place: Place) -> Iterator[None]:
    """Hold the folder for this process, having seen that it is new or was made from this corpus and
    these test sets."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(f"{place.folder} is in use by another process") from None
        made = {
            "corpus_sha256": sha256_of(place.corpus.path),
            "evaluation_sha256": sha256_of(place.corpus.evaluation),
        }
        file = place.folder / RECORD_FILE
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            if changed := [key for key in made if known.get(key) != made[key]]:
                raise TrainingError(
                    f"{place.folder} was made with another {' and '.join(changed)}; "
                    "use a new folder"
                )
        text = json.dumps(made, indent=1) + "\n"
        replace(file, lambda path: path.write_text(text, encoding="utf-8"))
        yield
