"""Train adapters one after the other; a killed run goes on from its last checkpoint.

A run is a folder:

    run.json                 recipe, backbone fingerprint, corpus counts, versions
    ADAPTER/metrics.jsonl    one line per logged step
    ADAPTER/checkpoint.pt    weights, optimizer and step, replaced every `CHECKPOINT_EVERY_S`
    ADAPTER/adapter.safetensors   the finished adapter
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
import transformers
from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import AdamW
from tqdm import tqdm

from training import adapters
from training.backbone import Backbone, masked_mean
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import PairSampler, load_pairs
from training.errors import TrainingError
from training.objectives import info_nce
from training.recipe import AdapterRecipe, Recipe

CHECKPOINT_EVERY_S = 30.0
LOG_EVERY_STEPS = 10
GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where the translations lie, a folder of TSV files or a corpus table, and the test sets whose
    texts must not be among them."""

    path: Path
    evaluation: Path


def train(recipe: Recipe, corpus: Corpus, run: Path) -> None:
    """Train every adapter of `recipe` that `run` has not finished yet.

    Calling it again on a run that was cut resumes it in data order; what is lost is the time since
    the last checkpoint. Raises TrainingError where `run` was made by another recipe or backbone.
    """
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    _check_lengths(recipe, backbone)
    with _claimed(run, recipe, fingerprint(backbone)):
        # The seed decides the fresh adapters' weights; drawing batches has a generator of its own.
        torch.manual_seed(recipe.seed)
        adapters.attach(backbone.model, list(recipe.adapters), recipe.reduction_factor)
        banned: frozenset[bytes] | None = None
        for name, plan in recipe.adapters.items():
            if (finished := finished_adapter(run, name)).exists():
                adapters.load_weights(backbone.model, name, adapters.load(finished))
                continue
            if banned is None:
                banned = fingerprints(evaluation_texts(corpus.evaluation))
            pairs = load_pairs(
                corpus.path,
                plan.granularity,
                recipe.languages,
                banned,
                frozenset(recipe.excluded_sources),
            )
            _record(run, {f"pairs.{name}": {key: len(pool) for key, pool in pairs.items()}})
            if plan.start_from is not None:
                start = adapters.weights(backbone.model, plan.start_from)
                adapters.load_weights(backbone.model, name, start)
            sampler = PairSampler(
                pairs, recipe.language_exponent, recipe.seed, recipe.source_exponent
            )
            _train_adapter(backbone, recipe, name, plan, sampler, run / name)


def finished_adapter(run: Path, name: str) -> Path:
    """Where a run keeps the finished weights of an adapter."""
    return run / name / "adapter.safetensors"


def read_run(run: Path) -> dict[str, Any]:
    """What `run.json` records; TrainingError where `run` is no run."""
    try:
        record: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run} is no training run: {error}") from None
    return record


def learning_rate(step: int, plan: AdapterRecipe) -> float:
    """The rate of `step`: linear warm-up, then one cosine down to zero at the last step."""
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return plan.learning_rate * (1 + math.cos(math.pi * done)) / 2


def embed(
    backbone: Backbone, rows: Sequence[Sequence[int]], chunk_tokens: int, bfloat16: bool
) -> Tensor:
    """Pooled vectors, (rows, dim) in the order given, through the adapter that is selected.

    Rows are encoded in chunks of like length, so that little is computed on padding.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    vectors = []
    for chunk in _chunks(order, rows, chunk_tokens):
        ids, mask = backbone.pad([rows[index] for index in chunk])
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors.append(masked_mean(states.float(), mask))
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(vectors)[place]


def _chunks(
    order: Sequence[int], rows: Sequence[Sequence[int]], chunk_tokens: int
) -> Iterator[list[int]]:
    chunk: list[int] = []
    for index in order:  # rising length: the newest row is the widest
        if chunk and (len(chunk) + 1) * len(rows[index]) > chunk_tokens:
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk


def _train_adapter(
    backbone: Backbone,
    recipe: Recipe,
    name: str,
    plan: AdapterRecipe,
    sampler: PairSampler,
    folder: Path,
) -> None:
    folder.mkdir(exist_ok=True)
    parameters = adapters.select(backbone.model, name, train=True)
    optimizer = AdamW(parameters, lr=plan.learning_rate, eps=1e-8)
    checkpoint = folder / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        adapters.load_weights(backbone.model, name, saved["weights"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    bfloat16 = recipe.precision == "bfloat16"
    log = _open_metrics(folder / "metrics.jsonl", first)
    saved_at = time.monotonic()
    texts_done, started_at = 0, time.monotonic()
    progress = tqdm(total=plan.steps, initial=first, desc=name, unit="step", mininterval=0.5)
    with log, progress:
        for step in range(first, plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, plan)
            pairs = sampler.batch(step, plan.batch_pairs)
            texts = [pair.english for pair in pairs] + [pair.other for pair in pairs]
            rows = backbone.tokenize(texts, plan.max_tokens)
            vectors = embed(backbone, rows, recipe.chunk_tokens, bfloat16)
            english, other = vectors[: len(pairs)], vectors[len(pairs) :]
            loss = info_nce(english, other, plan.temperature, plan.direction)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
            if not math.isfinite(value := loss.item()):
                raise TrainingError(f"{name}: the loss is {value} at step {step}; lower the rate")
            optimizer.step()
            texts_done += len(texts)
            rate = texts_done / (time.monotonic() - started_at)
            progress.set_postfix_str(f"loss {value:.3f}, {rate:.0f} texts/s", refresh=False)
            progress.update()
            if step % LOG_EVERY_STEPS == 0 or step == plan.steps - 1:
                metrics = {"step": step, "loss": value, "gradient_norm": norm.item()}
                metrics |= {"learning_rate": learning_rate(step, plan), "texts_per_s": rate}
                log.write(json.dumps(metrics) + "\n")
                log.flush()
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                _save_checkpoint(checkpoint, backbone, name, optimizer, step + 1)
                saved_at = time.monotonic()
    trained = adapters.weights(backbone.model, name)
    _replace(folder / "adapter.safetensors", lambda file: adapters.save(file, trained))
    checkpoint.unlink(missing_ok=True)


def _save_checkpoint(
    file: Path, backbone: Backbone, name: str, optimizer: AdamW, steps_done: int
) -> None:
    state = {
        "weights": adapters.weights(backbone.model, name),
        "optimizer": optimizer.state_dict(),
        "step": steps_done,
    }
    _replace(file, lambda path: torch.save(state, path))


def _open_metrics(file: Path, first_step: int) -> TextIO:
    """Open the metrics for appending, without the lines that steps to be repeated left there."""
    kept = []
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] < first_step:
                    kept.append(line + "\n")
            except ValueError:
                break  # the line that the cut left half-written
    _replace(file, lambda path: path.write_text("".join(kept), encoding="utf-8"))
    return file.open("a", encoding="utf-8")


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, sync it, and rename it there: it is always whole."""
    staged = file.with_name(f".{file.name}.new")
    write(staged)
    with staged.open("rb") as handle:
        os.fsync(handle.fileno())
    staged.replace(file)


def _check_lengths(recipe: Recipe, backbone: Backbone) -> None:
    for name, plan in recipe.adapters.items():
        if plan.max_tokens > backbone.max_positions:
            raise TrainingError(
                f"adapter {name}: max_tokens is {plan.max_tokens}; "
                f"{backbone.source} takes at most {backbone.max_positions}"
            )


@contextmanager
def _claimed(run: Path, recipe: Recipe, backbone_sha256: str) -> Iterator[None]:
    """Hold `run` for this process, having seen that it is new or belongs to the same recipe."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"{run} is in use by another training process") from None
        wanted = {"recipe": recipe.model_dump(mode="json"), "backbone_sha256": backbone_sha256}
        if (run / "run.json").exists():
            known = read_run(run)
            known["recipe"] = _as_read_today(known.get("recipe"))
            if changed := [key for key in wanted if known.get(key) != wanted[key]]:
                raise TrainingError(
                    f"{run} was made with another {' and '.join(changed)}; use a new folder"
                )
        else:
            versions = {"python": platform.python_version(), "torch": torch.__version__}
            versions |= {"transformers": transformers.__version__}
            _record(run, {**wanted, "versions": versions, "cpu_threads": torch.get_num_threads()})
        yield


def _as_read_today(recipe: object) -> object:
    """A recorded recipe with what today's recipes say besides, so that older runs go on."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def _record(run: Path, values: dict[str, Any]) -> None:
    """Add `values` to what `run.json` holds."""
    file = run / "run.json"
    record = {**(read_run(run) if file.exists() else {}), **values}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    _replace(file, lambda path: path.write_text(text, encoding="utf-8"))


def fingerprint(backbone: Backbone) -> str:
    """sha256 over the names and values of a backbone's weights, before adapters are attached."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
