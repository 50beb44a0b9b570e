"""Train adapters one after the other; a killed run goes on from its last checkpoint.

The run is a folder (`training.run`), each adapter a stage of it; the finished weights of an adapter
are `ADAPTER/adapter.safetensors`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from training import adapters
from training.backbone import Backbone
from training.contrastive import Data, Positive, Result, Text, contrastive_stage
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import PairSampler, load_pairs
from training.corpora.tsv import Pair
from training.embedding import Encoder
from training.errors import TrainingError
from training.recipe import Recipe
from training.run import Run, sha256_of
from training.validation import hold_out

RESULT = "adapter.safetensors"
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where the translations lie, a folder of TSV files or a corpus table, and the test sets whose
    texts must not be among them."""

    path: Path
    evaluation: Path


def train(recipe: Recipe, corpus: Corpus, run: Path, device: torch.device = CPU) -> None:
    """Train every adapter of `recipe` that `run` has not finished yet.

    Calling it again on a run that was cut resumes it in data order; what is lost is the time since
    the last checkpoint. Raises TrainingError where `run` was made by another recipe or backbone.
    """
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    _check_fits(recipe, backbone)
    inputs = {
        "backbone_sha256": fingerprint(backbone),
        "corpus_sha256": sha256_of(corpus.path),
        "evaluation_sha256": sha256_of(corpus.evaluation),
    }
    with Run.claim(run, recipe, inputs, device) as held:
        # The seed decides the fresh adapters' weights; drawing batches has a generator of its own.
        torch.manual_seed(recipe.seed)
        adapters.attach(backbone.model, list(recipe.adapters), recipe.reduction_factor)
        backbone.model.to(device)
        encoder = Encoder(backbone, device, recipe.chunk_tokens, recipe.precision == "bfloat16")
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
            result = Result(RESULT, partial(_save, backbone, name))
            data = _data(recipe, name, pairs)
            held.train(contrastive_stage(name, encoder, recipe, plan, [name], data, result))


def finished_adapter(run: Path, name: str) -> Path:
    """Where a run keeps the finished weights of an adapter."""
    return run / name / RESULT


def _data(recipe: Recipe, name: str, pairs: dict[str, list[Pair]]) -> Data:
    """Translations of one granularity, all through one adapter."""
    held_out: list[Pair] = []
    if recipe.validation is not None:
        pairs, held_out = hold_out(pairs, recipe.validation.pairs)
    sampler = PairSampler(pairs, recipe.language_exponent, recipe.seed, recipe.source_exponent)

    def positive(pair: Pair) -> Positive:
        return Positive(Text(pair.english, name), Text(pair.other, name))

    return Data(
        lambda number, size: [positive(pair) for pair in sampler.batch(number, size)],
        [positive(pair) for pair in held_out],
    )


def _save(backbone: Backbone, name: str, file: Path) -> None:
    adapters.save(file, adapters.weights(backbone.model, name))


def _check_fits(recipe: Recipe, backbone: Backbone) -> None:
    for name, plan in recipe.adapters.items():
        if plan.max_tokens > backbone.max_positions:
            raise TrainingError(
                f"adapter {name}: max_tokens is {plan.max_tokens}; "
                f"{backbone.source} takes at most {backbone.max_positions}"
            )
    if recipe.matryoshka_dimensions and recipe.matryoshka_dimensions[-1] >= backbone.dimension:
        raise TrainingError(
            f"matryoshka_dimensions has {recipe.matryoshka_dimensions[-1]}; vectors of "
            f"{backbone.source} have {backbone.dimension}, which is trained in any case"
        )


def fingerprint(backbone: Backbone) -> str:
    """sha256 over the names and values of a backbone's weights, before adapters are attached."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
