"""What both stages learn from: pairs, the teacher's vectors of their English, and the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.metrics import Metrics
from training.student.contrast import symmetric_info_nce
from training.student.pairs import PairBatch, Sampling, UnitSampler
from training.student.recipe import BackboneRecipe, StageRecipe
from training.student.teacher import TeacherVectors
from training.student.tokens import IntVector, TokenizedCorpus
from training.validation import retrieval_accuracy

# One unit in so many is held out.
_ONE_IN = 200


@dataclass(frozen=True, slots=True)
class StudentData:
    """Batches for one stage, and its loss."""

    vocabulary: int
    corpus: TokenizedCorpus
    teacher: TeacherVectors
    sampler: UnitSampler
    held_out: PairBatch

    @classmethod
    def of(
        cls,
        corpus: TokenizedCorpus,
        teacher: TeacherVectors,
        recipe: BackboneRecipe,
        stage: StageRecipe,
    ) -> StudentData:
        """The data of one stage. The held-out pairs are the same in every stage.

        Raises TrainingError where the corpus has too little to train or validate on.
        """
        plan = stage.sampling
        sampling = Sampling(
            plan.language_exponent,
            plan.source_weights,
            {str(name): weight for name, weight in plan.granularity_weights.items()},
            recipe.language_weights(plan),
            plan.english_share,
            recipe.seed,
        )
        kept_out = _held_out(corpus)
        even = Sampling(language_exponent=0.3, seed=recipe.seed)
        held_out = UnitSampler(corpus, even, kept_out).batch(0, stage.validation_pairs)
        sampler = UnitSampler(corpus, sampling, ~kept_out)
        return cls(recipe.vocabulary.size, corpus, teacher, sampler, held_out)

    def loss(
        self, both: Tensor, batch: PairBatch, stage: StageRecipe
    ) -> tuple[Tensor, dict[str, float]]:
        """The stage's loss of a batch, and its parts by name.

        `both` holds unit vectors, float32 (2 · pairs, dim), the sources' before the targets'.
        Beside InfoNCE between the two sides, each side is contrasted with the teacher's vectors of
        the pairs' English texts: a text is to lie where the teacher puts the English one (the
        distance), and nearer to it than to the other English ones of the batch (the ranking).
        """
        source, target = both.chunk(2)
        contrast = symmetric_info_nce(source, target, stage.temperature)
        parts = {"contrast": float(contrast.detach())}
        has_english = np.flatnonzero(batch.english >= 0)
        if len(has_english) < 2 or stage.distillation == stage.cosine_distillation == 0:
            return contrast, parts
        rows = self.corpus.table_row[batch.english[has_english]]
        wanted = self.teacher.of(rows).to(both.device)
        index = torch.from_numpy(has_english).to(both.device)
        sides = source[index], target[index]
        scale = stage.distillation_temperature
        ranking = torch.stack([symmetric_info_nce(side, wanted, scale) for side in sides]).mean()
        distance = 1 - torch.stack([(side * wanted).sum(1).mean() for side in sides]).mean()
        parts |= {"distillation": float(ranking.detach()), "distance": float(distance.detach())}
        loss = contrast + stage.distillation * ranking + stage.cosine_distillation * distance
        return loss, parts


def validation(batch: PairBatch, embed: Callable[[IntVector], Tensor]) -> Callable[[], Metrics]:
    """A measure of held-out pairs: the share whose partner is the nearest, mean of both ways.

    `embed` gives unit vectors, float32 (rows, dim), of corpus rows.
    """

    def measure() -> Metrics:
        with torch.no_grad():
            found = retrieval_accuracy(embed(batch.source), embed(batch.target))
        return {"validation_accuracy": found}

    return measure


def _held_out(corpus: TokenizedCorpus) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which units are held out: decided by the tokens of their first row, so that units with one
    English text between them go together."""
    first = np.asarray(corpus.text_key)[corpus.units[:-1]]
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = first % np.uint64(_ONE_IN) == 0
    return mask
