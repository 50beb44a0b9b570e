"""The context stage: transformer layers that learn what the sum of token vectors cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerFast

from training.backbone import masked_mean
from training.batching import of_like_length, places
from training.metrics import Metrics
from training.stage import Stage, Validation
from training.student.data import StudentData, validation
from training.student.model import StudentConfig, StudentModel
from training.student.recipe import ContextRecipe
from training.student.rotation import principal_axes, rotated, rows_of_all_kinds
from training.student.schedule import rate
from training.student.table import TokenTable
from training.student.tokens import IntVector, TokenizedCorpus
from training.student.vocabulary import PAD, SPECIAL_TOKENS, START

BACKBONE_FOLDER = "backbone"
_GRADIENT_NORM = 1.0
# Texts that the principal axes are found on.
_AXES_ROWS = 20_000
_START_ID = SPECIAL_TOKENS.index(START)
_PAD_ID = SPECIAL_TOKENS.index(PAD)


def context_stage(
    data: StudentData,
    recipe: ContextRecipe,
    static: np.ndarray[tuple[int, int], np.dtype[np.float16]],
    tokenizer: Tokenizer,
    seed: int,
    device: torch.device,
) -> Stage:
    """The stage that trains layers over the static table, and the table with them; its result is a
    folder that `Backbone.open` reads."""
    corpus = data.corpus
    torch.manual_seed(seed)
    model = StudentModel(
        StudentConfig(
            vocab_size=static.shape[0],
            hidden_size=static.shape[1],
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            intermediate_size=recipe.feed_forward,
            pad_token_id=_PAD_ID,
        )
    )
    model.embeddings.requires_grad_(False)
    model.to(device)
    # Adam's second moments of the table are to follow the falling gradients of a trained table.
    table = TokenTable(torch.from_numpy(static.astype(np.float32)).to(device), (0.9, 0.99))
    model.embeddings.weight.data = table.vectors
    matrices = [each for each in model.encoder.parameters() if each.dim() == 2]
    others = [each for each in model.encoder.parameters() if each.dim() != 2]
    optimizers = {
        # Orthogonalised momentum, scaled to the updates of AdamW (Jordan et al., 2024; Liu et al.,
        # 2025): fewer steps than Adam to the same loss in batches of thousands of pairs.
        "matrices": torch.optim.Muon(
            matrices,
            lr=recipe.matrix_learning_rate,
            momentum=0.95,
            weight_decay=0.01,
            adjust_lr_fn="match_rms_adamw",
        ),
        "others": torch.optim.Adam(others, lr=recipe.vector_learning_rate),
    }
    peaks = {name: each.param_groups[0]["lr"] for name, each in optimizers.items()}
    bfloat16 = recipe.precision == "bfloat16"

    def embed(rows: IntVector) -> Tensor:
        ids = token_rows(corpus, rows, recipe.max_tokens)
        with torch.no_grad():
            return _embed(model, ids, table.vectors, None, recipe.chunk_tokens, bfloat16)

    def step(number: int) -> Metrics:
        batch = data.sampler.batch(number, recipe.batch_pairs)
        ids = token_rows(corpus, np.concatenate([batch.source, batch.target]), recipe.max_tokens)
        distinct, rows = table.rows(np.concatenate(ids))
        both = _embed(model, ids, rows, distinct, recipe.chunk_tokens, bfloat16)
        loss, metrics = data.loss(both, batch, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_([*matrices, *others], _GRADIENT_NORM)
        share = rate(number, recipe)
        for name, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = peaks[name] * share
            optimizer.step()
            optimizer.zero_grad()
        if recipe.table_learning_rate:
            table.step(distinct, rows, recipe.table_learning_rate * share)
        return {
            **metrics,
            "loss": float(loss.detach()),
            "gradient_norm": float(norm),
            "texts": float(len(both)),
        }

    def write(folder: Path) -> None:
        finished = model
        if recipe.order_dimensions:
            rows = rows_of_all_kinds(corpus, _AXES_ROWS, seed)
            parts = [embed(part) for part in np.array_split(rows, max(1, len(rows) // 1000))]
            finished = rotated(model, principal_axes(torch.cat(parts)))
        finished.save_pretrained(folder, safe_serialization=True)
        save_tokenizer(tokenizer, folder)

    return Stage(
        "context",
        recipe.steps,
        step,
        {"table": table, "layers": model.encoder, **optimizers},
        BACKBONE_FOLDER,
        write,
        seed,
        Validation(validation(data.held_out, embed), recipe.validation_every),
    )


def token_rows(corpus: TokenizedCorpus, rows: IntVector, max_tokens: int) -> list[IntVector]:
    """The token ids of `rows`, each behind [CLS] and cut to `max_tokens` with it."""
    ends = np.minimum(corpus.offsets[rows + 1], corpus.offsets[rows] + max_tokens - 1)
    start = np.array([_START_ID])
    return [
        np.concatenate([start, corpus.tokens[begin:end].astype(np.int64)])
        for begin, end in zip(corpus.offsets[rows], ends, strict=True)
    ]


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer` beside a model, as transformers reads it."""
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=SPECIAL_TOKENS[1], cls_token=START
    ).save_pretrained(folder)


def _embed(
    model: StudentModel,
    rows: Sequence[IntVector],
    vectors: Tensor,
    distinct: IntVector | None,
    chunk_tokens: int,
    bfloat16: bool,
) -> Tensor:
    """Unit vectors, float32 (rows, dim). `vectors` holds the token vectors of all ids, or of those
    that `distinct` names."""
    lengths = [len(row) for row in rows]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    means = []
    for chunk in of_like_length(order, lengths, chunk_tokens):
        ids = np.full((len(chunk), lengths[chunk[-1]]), _START_ID, np.int64)
        mask = np.zeros_like(ids)
        for line, index in enumerate(chunk):
            ids[line, : lengths[index]] = rows[index]
            mask[line, : lengths[index]] = 1
        local = ids if distinct is None else np.searchsorted(distinct, ids)
        place_of = torch.from_numpy(local).to(vectors.device, non_blocking=True)
        kept = torch.from_numpy(mask).to(vectors.device, non_blocking=True)
        embedded = torch.nn.functional.embedding(place_of, vectors)
        with torch.autocast(vectors.device.type, torch.bfloat16, enabled=bfloat16):
            states = model(attention_mask=kept, inputs_embeds=embedded).last_hidden_state
        means.append(masked_mean(states.float(), kept))
    return normalize(torch.cat(means)[places(order).to(vectors.device)], dim=1)
