"""Turn a finished student onto its principal axes, so that its vectors may be cut short.

The first dimensions then say the most, as in Matryoshka training (Kusupati et al., 2022), and what
the whole vectors say stays the same: a rotation changes no cosine.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.student.model import StudentConfig, StudentModel
from training.student.tokens import IntVector, TokenizedCorpus

_WEIGHT = "rotation.weight"


def principal_axes(vectors: Tensor) -> Tensor:
    """The eigenvectors of the vectors' second moment, widest first: (rows, dim) → (dim, dim), one
    axis a row, each turned so that its largest entry is positive."""
    _, columns = torch.linalg.eigh(vectors.double().T @ vectors.double())
    axes = columns.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    turned: Tensor = (axes * largest.sign()).float()
    return turned


def rotated(model: StudentModel, axes: Tensor) -> StudentModel:
    """A model whose states are those of `model` in the coordinates of `axes`."""
    config = StudentConfig(**{**model.config.to_dict(), "rotated": True})
    turned: StudentModel = StudentModel(config)
    turned.load_state_dict(
        {**{name: each.cpu() for name, each in model.state_dict().items()}, _WEIGHT: axes.cpu()}
    )
    turned.eval()
    return turned


def rows_of_all_kinds(corpus: TokenizedCorpus, count: int, seed: int) -> IntVector:
    """About `count` rows of a corpus, drawn evenly over all of it."""
    rng = np.random.default_rng(seed)
    rows: IntVector = np.sort(rng.choice(len(corpus), min(count, len(corpus)), replace=False))
    return rows
