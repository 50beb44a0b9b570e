"""Masked language modelling through the adapters, with the backbone's token table to guess by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.backbone import Backbone
from training.embedding import Batch, Row
from training.errors import TrainingError
from training.objectives.masked import IGNORED, Masking, mask_tokens, masked_language_modelling
from training.terms.recipe import MaskingRecipe
from training.terms.term import NOTHING, Draw, OwnTerm, Setting

_STREAM = 0x3A
_MASK_TOKENS = ("[MASK]", "<mask>")


def masking(backbone: Backbone, plan: MaskingRecipe) -> Masking:
    """Which tokens of a backbone may be masked, and by which.

    Raises TrainingError where the tokenizer has no such token, or token vectors are not as wide as
    states.
    """
    names = _MASK_TOKENS if plan.mask_token is None else (plan.mask_token,)
    ids = [backbone.tokenizer.token_to_id(name) for name in names]
    found = next((each for each in ids if each is not None), None)
    if found is None:
        raise TrainingError(
            f"objective masked: the tokenizer of {backbone.source} has no {' or '.join(names)}; "
            'name a token that it has, like masking = { mask_token = "[UNK]" }'
        )
    rows, width = token_table(backbone).shape
    if width != backbone.dimension:
        raise TrainingError(
            f"objective masked: {backbone.source} has token vectors of {width} and states of "
            f"{backbone.dimension}, so its table cannot guess tokens; leave the objective out"
        )
    added = backbone.tokenizer.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    return Masking(found, frozenset({*special, backbone.pad_token_id}), rows, plan.share)


def token_table(backbone: Backbone) -> Tensor:
    """The token vectors as last states are turned, (vocabulary, dim), without gradient."""
    model = backbone.model
    table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    rotation = getattr(model, "rotation", None)
    if rotation is None:
        return table
    with torch.no_grad():
        turned: Tensor = rotation(table)
    return turned


@dataclass(frozen=True, slots=True)
class _Prepared:
    batch: Batch
    labels: Sequence[Tensor]  # of each chunk, int64 (rows, tokens)
    guessed: int


class Masked(OwnTerm):
    """`masked_language_modelling` of all texts of the batch, in both languages.

    There is no head between states and table: what the adapter gives has to be near the token
    itself.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._masking = masking(setting.encoder.backbone, setting.plan.masking)
        self._table = token_table(setting.encoder.backbone)

    def prepare(self, draw: Draw) -> _Prepared:
        """Rows with some tokens masked, and the labels beside them."""
        generator = torch.Generator().manual_seed(int(draw.rng(_STREAM).integers(1 << 62)))
        lengths = [len(row.ids) for row in draw.rows]
        ids = torch.tensor([number for row in draw.rows for number in row.ids])
        seen, labels = mask_tokens(ids, self._masking, generator)
        rows = [
            Row(part.tolist(), row.adapter)
            for part, row in zip(torch.split(seen, lengths), draw.rows, strict=True)
        ]
        batch = self._setting.encoder.batch(rows)
        placed = batch.of_tokens(torch.split(labels, lengths), IGNORED)
        return _Prepared(batch, placed, int((labels != IGNORED).sum()))

    def backward(self, prepared: _Prepared, scale: float) -> Mapping[str, float]:
        """One chunk after the other: the mean over all guessed tokens is a sum over chunks."""
        if not prepared.guessed:
            return NOTHING
        encoder = self._setting.encoder
        total = 0.0
        for chunk, own in zip(prepared.batch.chunks, prepared.labels, strict=True):
            share = int((own != IGNORED).sum()) / prepared.guessed
            if share:
                labels = own.to(encoder.device)
                states = encoder.states(chunk)
                with encoder.autocast():
                    loss = masked_language_modelling(states, labels, self._table) * share
                if loss.requires_grad:  # else this chunk went through nothing that is trained
                    (loss * scale).backward()  # type: ignore[no-untyped-call]
                total += loss.item()
        return {"loss": total}
