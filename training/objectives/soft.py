"""Soft contrast: a teacher says how much each text of the batch means what each other one means.

teacher vectors -> `priority` or `average` (cosines) -> `soft_labels` -> `soft_contrastive`,
`monolingual` or their sum `tcm` (Park et al., 2024). The teacher's cosines as they are teach by
`distillation.similarity_mse`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.objectives.cosine import check_pairs, cosines


def priority(anchor: Tensor) -> Tensor:
    """A teacher's cosines among the texts of the anchor, the language it knows best: (N, N).

    cos_T(s_i, s_j), s the side whose language has more data; `anchor` is (N, dim).
    """
    return cosines(anchor, anchor)


def average(source: Tensor, target: Tensor) -> Tensor:
    """The mean of a multilingual teacher's cosines within either side: (N, N).

    (cos_T(s_i, s_j) + cos_T(t_i, t_j)) / 2; `source` and `target` are (N, dim). Raises ValueError
    where they are no pairs.
    """
    check_pairs(source, target)
    return (cosines(source, source) + cosines(target, target)) / 2


def soft_labels(similarities: Tensor, temperature: float) -> Tensor:
    """What a text's probability mass should be, (N, N), rows that sum to 1.

    w_ij = exp(c_ij/T) / sum_k exp(c_ik/T) of a teacher's cosines c, by `priority` or `average`;
    the identity as T goes to 0, where no text has a copy.
    """
    return torch.softmax(similarities / temperature, dim=1)


def soft_contrastive(source: Tensor, target: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding translations against soft labels, both ways added, a scalar.

    L_cross = -(1/N) sum_ij w_ij [ log p(t_j | s_i) + log p(s_j | t_i) ] with
    p(y_j | x_i) = exp(cos(x_i, y_j)/T) / sum_k exp(cos(x_i, y_k)/T) (Park et al., 2024). `source`
    and `target` are the student's (N, dim), `labels` (N, N). The identity as labels gives twice
    the symmetric InfoNCE. Raises ValueError where the shapes do not fit.
    """
    _check_labels(source, target, labels)
    logits = cosines(source, target) / temperature
    labels = labels.to(logits)
    return cross_entropy(logits, labels) + cross_entropy(logits.T, labels)


def monolingual(source: Tensor, target: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The same cross-entropy within either side, so that similarity within a language stays what
    it is to the teacher; a scalar.

    L_mono = -(1/N) sum_ij w_ij [ log p(s_j | s_i) + log p(t_j | t_i) ], itself included among the
    candidates (Park et al., 2024). Shapes and errors are those of `soft_contrastive`.
    """
    _check_labels(source, target, labels)
    within_source, within_target = cosines(source, source), cosines(target, target)
    labels = labels.to(within_source)
    return cross_entropy(within_source / temperature, labels) + cross_entropy(
        within_target / temperature, labels
    )


def tcm(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    temperature: float,
    cross_weight: float = 1.0,
) -> Tensor:
    """Translation and similarity at once: `cross_weight` x L_cross + L_mono, a scalar.

    The paper's TCM (Park et al., 2024); its code weighs both alike. Shapes and errors are those of
    `soft_contrastive`.
    """
    cross = soft_contrastive(source, target, labels, temperature)
    return cross_weight * cross + monolingual(source, target, labels, temperature)


def _check_labels(source: Tensor, target: Tensor, labels: Tensor) -> None:
    check_pairs(source, target)
    if labels.shape != (len(source), len(source)):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit {len(source)} pairs; "
            "give one row and one column per pair"
        )
