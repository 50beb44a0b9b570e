"""Train adapters one after the other, then together; a killed run goes on from its checkpoint.

The run is a folder (`training.run`), each adapter a stage of it, and the joint stage another:

    ADAPTER/adapter.safetensors       an adapter as its own stage left it
    joint/adapters/ADAPTER.safetensors   as the joint stage left it, where the recipe has one
    AVERAGE/adapter.safetensors       the average of adapters as they were left, made last
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from models.bundle import Granularity
from training import adapters
from training.backbone import Backbone, hold_in_bfloat16
from training.contrastive import Result, contrastive_stage
from training.data import Corpus, Loader, adapter_data, joint_data
from training.embedding import Encoder
from training.errors import TrainingError
from training.files import replace
from training.processes import processes, wait
from training.recipe import JOINT, ContrastiveRecipe, Recipe
from training.reuse import reuse
from training.run import Run, read_run, sha256_of
from training.terms.masked import masking
from training.terms.recipe import TAUGHT, Objective

__all__ = [
    "ADAPTER_FILE",
    "Corpus",
    "encoders",
    "fingerprint",
    "finished_adapter",
    "open_teacher",
    "train",
]

ADAPTER_FILE = "adapter.safetensors"
JOINT_FOLDER = "adapters"
CPU = torch.device("cpu")


def train(
    recipe: Recipe,
    corpus: Corpus,
    run: Path,
    device: torch.device = CPU,
    earlier: Path | None = None,
) -> None:
    """Train every adapter of `recipe` that `run` has not finished yet, and its joint stage.

    What the run `earlier` trained by the very same stage is taken from there (`reuse`).

    Calling it again on a run that was cut resumes it in data order; what is lost is the time since
    the last checkpoint. Several processes that `processes.joined` has joined train together, each
    on its part of every batch. Raises TrainingError where `run` was made by another recipe,
    backbone, corpus or test sets.
    """
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    _check_fits(recipe, backbone)
    inputs = {
        "backbone_sha256": fingerprint(backbone),
        "corpus_sha256": sha256_of(corpus.path),
        "evaluation_sha256": sha256_of(corpus.evaluation),
    }
    if recipe.augmentation is not None and recipe.augmentation.dictionary is not None:
        inputs["dictionary_sha256"] = _sha256_of_file(recipe.augmentation.dictionary)
    for stage, plan in recipe.stages.items():
        if Objective.TOKEN_ALIGNMENT in plan.objectives and plan.tokens.dictionary is not None:
            inputs[f"dictionary_sha256.{stage}"] = _sha256_of_file(plan.tokens.dictionary)
    teacher = open_teacher(recipe, backbone)
    if teacher is not None:
        inputs["teacher_sha256"] = fingerprint(teacher)
    with Run.claim(run, recipe, inputs, device) as held:
        if earlier is not None and not held.follows:
            reuse(held, recipe, inputs["backbone_sha256"], earlier, ADAPTER_FILE)
        wait()
        _check_trainable(recipe, held)
        encoder, taught_by = encoders(recipe, backbone, teacher, device)
        loader = Loader(recipe, corpus)
        for name in recipe.adapters:
            if held.finished(name, ADAPTER_FILE):
                finished = adapters.load(run / name / ADAPTER_FILE)
                adapters.load_weights(backbone.model, name, finished)
            else:
                _train_adapter(held, recipe, encoder, loader, name, taught_by)
        if recipe.joint is not None and not held.finished(JOINT, JOINT_FOLDER):
            result = Result(JOINT_FOLDER, partial(_save_all, backbone, recipe.joint_adapters))
            data = joint_data(loader, recipe)
            held.record({"cross_granularity": dict(data.counts)})
            held.train(
                contrastive_stage(
                    *(JOINT, encoder, recipe, recipe.joint, recipe.joint_adapters),
                    *(data, result, taught_by),
                )
            )
        for name in recipe.averages:
            if not held.follows and not held.finished(name, ADAPTER_FILE):
                _average(recipe, run, name)


def encoders(
    recipe: Recipe, backbone: Backbone, teacher: Backbone | None, device: torch.device
) -> tuple[Encoder, Encoder | None]:
    """`backbone` with the recipe's adapters, fresh, and the teacher, ready to train on `device`."""
    # The seed decides the fresh adapters' weights; drawing batches has a generator of its own.
    torch.manual_seed(recipe.seed)
    adapters.attach_kinds(backbone.model, {name: recipe.kind_of(name) for name in recipe.adapters})
    bfloat16 = recipe.precision == "bfloat16"
    if bfloat16:
        trained = (adapters.parameters(backbone.model, name) for name in recipe.adapters)
        hold_in_bfloat16(backbone.model, [each for own in trained for _, each in own])
    backbone.model.to(device)
    encoder = Encoder(backbone, device, recipe.chunk_tokens, bfloat16)
    if teacher is None:
        return encoder, None
    if bfloat16:
        hold_in_bfloat16(teacher.model)
    teacher.model.to(device)
    return encoder, Encoder(teacher, device, recipe.chunk_tokens, bfloat16, adapted=False)


def finished_adapter(run: Path, name: str) -> Path:
    """Where a run keeps the finished weights of an adapter.

    Raises TrainingError where `run` is no run.
    """
    recipe = Recipe.model_validate(read_run(run)["recipe"])
    if name in recipe.joint_adapters:
        return run / JOINT / JOINT_FOLDER / f"{name}.safetensors"
    return run / name / ADAPTER_FILE


def fingerprint(backbone: Backbone) -> str:
    """sha256 over the names and values of a backbone's weights, before adapters are attached."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _train_adapter(
    held: Run,
    recipe: Recipe,
    encoder: Encoder,
    loader: Loader,
    name: str,
    teacher: Encoder | None,
) -> None:
    plan, model = recipe.adapters[name], encoder.backbone.model
    data = adapter_data(loader.translations(name), name)
    held.record({f"pairs.{name}": dict(data.counts)})
    if plan.start_from is not None:
        adapters.load_weights(model, name, adapters.weights(model, plan.start_from))
    result = Result(ADAPTER_FILE, partial(_save_mixed, encoder.backbone, name, plan.mixed_with))
    held.train(contrastive_stage(name, encoder, recipe, plan, [name], data, result, teacher))
    # The file may hold an earlier state than the last, kept by the first process, or a mixture.
    if held.follows or plan.mixed_with:
        adapters.load_weights(model, name, adapters.load(held.folder / name / ADAPTER_FILE))


def _average(recipe: Recipe, run: Path, name: str) -> None:
    plan = recipe.averages[name]
    members = [adapters.load(finished_adapter(run, each)) for each in plan.of]
    mean = adapters.average(members, plan.weights)
    (run / name).mkdir(exist_ok=True)
    replace(run / name / ADAPTER_FILE, lambda file: adapters.save(file, mean))


def _save(backbone: Backbone, name: str, file: Path) -> None:
    adapters.save(file, adapters.weights(backbone.model, name))


def _save_mixed(backbone: Backbone, name: str, mixed_with: Mapping[str, float], file: Path) -> None:
    if not mixed_with:
        return _save(backbone, name, file)
    shares = {name: 1 - sum(mixed_with.values()), **mixed_with}
    members = [adapters.weights(backbone.model, each) for each in shares]
    return adapters.save(file, adapters.average(members, list(shares.values())))


def _save_all(backbone: Backbone, names: tuple[str, ...], folder: Path) -> None:
    folder.mkdir()
    for name in names:
        _save(backbone, name, folder / f"{name}.safetensors")


def open_teacher(recipe: Recipe, backbone: Backbone) -> Backbone | None:
    """The recipe's teacher, where an objective needs it or could use it.

    Raises TrainingError where an objective cannot use a teacher of its width.
    """
    named = {each for plan in recipe.stages.values() for each in plan.objectives}
    if recipe.teacher is None or not named & {*TAUGHT, Objective.HARD_NEGATIVES}:
        return None
    teacher = Backbone.open(recipe.teacher, half_weights=False)
    if Objective.EMBEDDING_MSE in named and teacher.dimension != backbone.dimension:
        raise TrainingError(
            f"embedding_mse: vectors of {teacher.source} have {teacher.dimension} numbers, and "
            f"those of {backbone.source} {backbone.dimension}; use a teacher of the same width, or "
            "similarity_mse"
        )
    return teacher


def _sha256_of_file(file: Path) -> str:
    if not file.is_file():
        raise TrainingError(
            f"{file} does not exist; make it by `polygrain-train corpus dictionary`"
        )
    return sha256_of(file)


def _check_trainable(recipe: Recipe, held: Run) -> None:
    for name, plan in recipe.adapters.items():
        learns_words = Objective.TOKEN_ALIGNMENT in plan.objectives
        is_word = plan.granularity is Granularity.WORD
        if is_word and not learns_words and not held.finished(name, ADAPTER_FILE):
            raise TrainingError(
                f"adapter {name}: one of granularity word learns from token_alignment; give it "
                "objectives = { token_alignment = 1.0 }, with others beside it or without, or put "
                f"its weights at {held.folder / name / ADAPTER_FILE}"
            )


def _check_fits(recipe: Recipe, backbone: Backbone) -> None:
    for name, served in recipe.served.items():
        if served.max_tokens > backbone.max_positions:
            raise TrainingError(
                f"adapter {name}: max_tokens is {served.max_tokens}; "
                f"{backbone.source} takes at most {backbone.max_positions}"
            )
    for stage, plan in recipe.stages.items():
        if Objective.MASKED in plan.objectives:
            masking(backbone, plan.masking)
        _check_parts(stage, plan)
    if recipe.matryoshka_dimensions and recipe.matryoshka_dimensions[-1] >= backbone.dimension:
        raise TrainingError(
            f"matryoshka_dimensions has {recipe.matryoshka_dimensions[-1]}; vectors of "
            f"{backbone.source} have {backbone.dimension}, which is trained in any case"
        )


def _check_parts(stage: str, plan: ContrastiveRecipe) -> None:
    """What several processes cannot train together."""
    if plan.batch_pairs % processes():
        raise TrainingError(
            f"{stage}: batch_pairs is {plan.batch_pairs}, which {processes()} processes cannot "
            "part evenly; use a multiple of their number"
        )
    if processes() > 1 and Objective.CROPS in plan.objectives:
        raise TrainingError(
            f"{stage}: crops keeps a queue, and each process would have another; train it with one "
            "process"
        )
