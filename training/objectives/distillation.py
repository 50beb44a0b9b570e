"""A student that takes over a teacher's vectors, or its similarities, number by number."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from training.objectives.cosine import check_pairs, cosines, full_precision


def embedding_mse(teacher: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The student's vectors of a text and of its translation are the teacher's of the text; a
    scalar.

    L = MSE(T(s), S(s)) + MSE(T(s), S(t)), each the mean over pairs and dimensions (Reimers and
    Gurevych, 2020). All three are (pairs, dim) as the models give them: their lengths count. Raises
    ValueError where the shapes differ; a teacher of another width needs a projection first.
    """
    check_pairs(source, target)
    if teacher.shape != source.shape:
        raise ValueError(
            f"the teacher's vectors are {tuple(teacher.shape)} and the student's "
            f"{tuple(source.shape)}; project one to the width of the other"
        )
    wanted = full_precision(teacher)
    return mse_loss(full_precision(source), wanted) + mse_loss(full_precision(target), wanted)


def similarity_mse(source: Tensor, target: Tensor, similarities: Tensor) -> Tensor:
    """The student's cosines across the languages are the teacher's; a scalar.

    L = (1/N^2) sum_ij (cos(S(s_i), S(t_j)) - c_ij)^2, with a teacher's cosines c by `soft.priority`
    or `soft.average` (the similarity-matrix baseline of Park et al., 2024). `source` and `target`
    are (N, dim), `similarities` (N, N); the teacher's width may be any. Raises ValueError where the
    shapes do not fit.
    """
    check_pairs(source, target)
    if similarities.shape != (len(source), len(source)):
        raise ValueError(
            f"similarities of shape {tuple(similarities.shape)} do not fit {len(source)} pairs; "
            "give one row and one column per pair"
        )
    found = cosines(source, target)
    return mse_loss(found, similarities.to(found))
