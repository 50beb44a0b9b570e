"""Train adapters one after the other; a killed run goes on from its last checkpoint.

The run is a folder (`training.run`), each adapter a stage of it; the finished weights of an adapter
are `ADAPTER/adapter.safetensors`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from training import adapters
from training.backbone import Backbone, masked_mean
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import PairSampler, load_pairs
from training.errors import TrainingError
from training.metrics import Metrics
from training.objectives import info_nce
from training.recipe import AdapterRecipe, Recipe
from training.run import Run, sha256_of
from training.stage import Stage

RESULT = "adapter.safetensors"
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
    inputs = {
        "backbone_sha256": fingerprint(backbone),
        "corpus_sha256": sha256_of(corpus.path),
        "evaluation_sha256": sha256_of(corpus.evaluation),
    }
    with Run.claim(run, recipe, inputs, torch.device("cpu")) as held:
        # The seed decides the fresh adapters' weights; drawing batches has a generator of its own.
        torch.manual_seed(recipe.seed)
        adapters.attach(backbone.model, list(recipe.adapters), recipe.reduction_factor)
        banned: frozenset[bytes] | None = None
        for name, plan in recipe.adapters.items():
            if held.finished(name, RESULT):
                finished = adapters.load(finished_adapter(run, name))
                adapters.load_weights(backbone.model, name, finished)
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
            held.record({f"pairs.{name}": {key: len(pool) for key, pool in pairs.items()}})
            if plan.start_from is not None:
                start = adapters.weights(backbone.model, plan.start_from)
                adapters.load_weights(backbone.model, name, start)
            sampler = PairSampler(
                pairs, recipe.language_exponent, recipe.seed, recipe.source_exponent
            )
            held.train(_stage(backbone, recipe, name, plan, sampler))


def finished_adapter(run: Path, name: str) -> Path:
    """Where a run keeps the finished weights of an adapter."""
    return run / name / RESULT


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


@dataclass(frozen=True, slots=True)
class _AdapterState:
    """The weights of one adapter, as a part of a checkpoint."""

    model: nn.Module
    name: str

    def state_dict(self) -> dict[str, Any]:
        return adapters.weights(self.model, self.name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        adapters.load_weights(self.model, self.name, state_dict)


def _stage(
    backbone: Backbone, recipe: Recipe, name: str, plan: AdapterRecipe, sampler: PairSampler
) -> Stage:
    parameters = adapters.select(backbone.model, name, train=True)
    optimizer = AdamW(parameters, lr=plan.learning_rate, eps=1e-8)
    bfloat16 = recipe.precision == "bfloat16"

    def step(number: int) -> Metrics:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, plan)
        pairs = sampler.batch(number, plan.batch_pairs)
        texts = [pair.english for pair in pairs] + [pair.other for pair in pairs]
        rows = backbone.tokenize(texts, plan.max_tokens)
        vectors = embed(backbone, rows, recipe.chunk_tokens, bfloat16)
        english, other = vectors[: len(pairs)], vectors[len(pairs) :]
        loss = info_nce(english, other, plan.temperature, plan.direction)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
        metrics = {"loss": loss.item(), "gradient_norm": norm.item()}
        return metrics | {"learning_rate": learning_rate(number, plan), "texts": len(texts)}

    return Stage(
        name=name,
        steps=plan.steps,
        step=step,
        state={"weights": _AdapterState(backbone.model, name), "optimizer": optimizer},
        result=RESULT,
        write_result=lambda file: adapters.save(file, adapters.weights(backbone.model, name)),
        seed=recipe.seed,
    )


def _check_lengths(recipe: Recipe, backbone: Backbone) -> None:
    for name, plan in recipe.adapters.items():
        if plan.max_tokens > backbone.max_positions:
            raise TrainingError(
                f"adapter {name}: max_tokens is {plan.max_tokens}; "
                f"{backbone.source} takes at most {backbone.max_positions}"
            )


def fingerprint(backbone: Backbone) -> str:
    """sha256 over the names and values of a backbone's weights, before adapters are attached."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
