"""The static stage: token vectors whose sums put a text and its translations in one place.

The sum of token vectors with in-batch InfoNCE over parallel text is a bag-of-words space aligned
across languages. It costs minutes, needs no transformer, and is where the context stage begins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from training.files import save_array
from training.metrics import Metrics
from training.stage import Stage, Validation
from training.student.data import StudentData, validation
from training.student.recipe import StaticRecipe
from training.student.schedule import rate
from training.student.table import TokenTable
from training.student.tokens import IntVector, TokenizedCorpus, ranges
from training.student.vocabulary import SPECIAL_TOKENS

STATIC_FILE = "table.npy"


def static_stage(
    data: StudentData,
    recipe: StaticRecipe,
    dimension: int,
    seed: int,
    device: torch.device,
) -> Stage:
    """The stage that trains the table; its result is `table.npy`, float16 (vocabulary, dim), in
    which special tokens are zero."""
    corpus = data.corpus
    generator = torch.Generator().manual_seed(seed)
    deviation = recipe.initial_deviation
    vectors = torch.randn(data.vocabulary, dimension, generator=generator) * deviation
    vectors[: len(SPECIAL_TOKENS)] = 0
    table = TokenTable(vectors.to(device))
    held_out = data.held_out

    def embed(rows: IntVector) -> Tensor:
        ids, starts = bags(corpus, rows, recipe.max_tokens)
        return _embed(ids, starts, table.vectors)

    def step(number: int) -> Metrics:
        batch = data.sampler.batch(number, recipe.batch_pairs)
        ids, starts = bags(corpus, np.concatenate([batch.source, batch.target]), recipe.max_tokens)
        distinct, rows = table.rows(ids)
        both = _embed(np.searchsorted(distinct, ids), starts, rows)
        loss, metrics = data.loss(both, batch, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        table.step(distinct, rows, recipe.learning_rate * rate(number, recipe))
        return {**metrics, "loss": float(loss.detach()), "texts": float(len(both))}

    return Stage(
        "static",
        recipe.steps,
        step,
        {"table": table},
        STATIC_FILE,
        lambda path: save_array(path, table.vectors.half().cpu().numpy()),
        seed,
        Validation(validation(held_out, embed), recipe.validation_every),
    )


def bags(corpus: TokenizedCorpus, rows: IntVector, max_tokens: int) -> tuple[IntVector, IntVector]:
    """The tokens of `rows`, each row cut to `max_tokens`, one after the other: int64 (all tokens,),
    and where each row starts, int64 (rows,)."""
    begin = corpus.offsets[rows]
    counts = np.minimum(corpus.offsets[rows + 1] - begin, max_tokens)
    starts = np.cumsum(counts) - counts
    return corpus.tokens[ranges(begin, counts)].astype(np.int64), starts


def _embed(ids: IntVector, starts: IntVector, vectors: Tensor) -> Tensor:
    bags_of, begin = (torch.from_numpy(each).to(vectors.device) for each in (ids, starts))
    return normalize(embedding_bag(bags_of, vectors, begin, mode="sum"), dim=1)
