"""From a teacher and a corpus table to a student backbone; a killed run goes on where it was.

tokenizer.json           the vocabulary
tokens/                  the corpus as token ids
teacher/                 the teacher's vectors of the English texts
static/table.npy         the static stage's token vectors
context/backbone/        the student: config.json, model.safetensors, tokenizer.json
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from training.backbone import Backbone
from training.corpora.table import read_report
from training.errors import TrainingError
from training.files import replace
from training.run import RUN_FILE, Run, sha256_of
from training.student.context import BACKBONE_FOLDER, context_stage
from training.student.data import StudentData
from training.student.recipe import BackboneRecipe
from training.student.static import STATIC_FILE, static_stage
from training.student.teacher import embed_english
from training.student.tokens import tokenize
from training.student.vocabulary import balanced_texts, train_vocabulary

TOKENIZER_FILE = "tokenizer.json"
CPU = torch.device("cpu")


def build_backbone(
    recipe: BackboneRecipe, table: Path, run: Path, device: torch.device = CPU
) -> Path:
    """Make the student that `recipe` describes from a corpus table; return its folder.

    Calling it again on a run that was cut goes on where it was. Raises TrainingError where `table`
    was built without keeping the test sets out, or `run` was made by another recipe or table.
    """
    if not read_report(table).get("evaluation_fingerprints"):
        raise TrainingError(
            f"{table} was built with --no-evaluation: what is trained on it cannot be measured; "
            "build it with --evaluation FOLDER"
        )
    inputs = {"corpus_sha256": sha256_of(table)}
    with Run.claim(run, recipe, inputs, device) as held, _fast_products():
        tokenizer = _tokenizer(recipe, table, run / TOKENIZER_FILE)
        languages = [*recipe.languages, *recipe.further_languages]
        corpus = tokenize(table, tokenizer, languages, recipe.max_tokens, run / "tokens")
        teacher = embed_english(
            table, recipe.teacher, recipe.teacher_max_tokens, run / "teacher", device
        )
        dimension = teacher.vectors.shape[1]
        if not held.finished("static", STATIC_FILE):
            data = StudentData.of(corpus, teacher, recipe, recipe.static)
            held.record({"shares": data.sampler.shares()})
            held.train(static_stage(data, recipe.static, dimension, recipe.seed, device))
        if not held.finished("context", BACKBONE_FOLDER):
            data = StudentData.of(corpus, teacher, recipe, recipe.context)
            static = np.load(run / "static" / STATIC_FILE)
            held.train(context_stage(data, recipe.context, static, tokenizer, recipe.seed, device))
    folder = run / "context" / BACKBONE_FOLDER
    Backbone.open(str(folder), half_weights=False)  # what cannot be opened is not finished
    # How it was made goes with it, into the manifests of the bundles that rest on it.
    shutil.copyfile(run / RUN_FILE, folder / RUN_FILE)
    return folder


@contextmanager
def _fast_products() -> Iterator[None]:
    """Sums of bfloat16 products in float32: exact enough for scores, and several times as fast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _tokenizer(recipe: BackboneRecipe, table: Path, file: Path) -> Tokenizer:
    plan = recipe.vocabulary
    if not file.exists():
        characters = {
            **dict.fromkeys(recipe.further_languages, plan.further_characters),
            **dict.fromkeys(recipe.languages, plan.characters),
        }
        texts = balanced_texts(table, characters, plan.source_weights, recipe.seed)
        tokenizer = train_vocabulary(texts, plan.size)
        replace(file, lambda path: tokenizer.save(str(path)))
    return Tokenizer.from_file(str(file))
