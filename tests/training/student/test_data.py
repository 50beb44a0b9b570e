import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from training.student.data import StudentData, validation
from training.student.pairs import PairBatch, Sampling, UnitSampler
from training.student.recipe import StaticRecipe
from training.student.teacher import TeacherVectors
from training.student.tokens import TokenizedCorpus


def _data(tokens: TokenizedCorpus) -> StudentData:
    rng = np.random.default_rng(1)
    rows = np.asarray(tokens.table_row)[np.asarray(tokens.language) == tokens.english]
    place = np.full(int(rows.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    vectors = rng.normal(size=(len(rows), 8)).astype(np.float16)
    sampler = UnitSampler(tokens, Sampling())
    return StudentData(400, tokens, TeacherVectors(vectors, place), sampler, sampler.batch(0, 8))


def test_the_loss_is_the_weighted_sum_of_its_terms(tokens: TokenizedCorpus) -> None:
    data = _data(tokens)
    drawn = data.sampler.batch(1, 6)
    batch = PairBatch(drawn.source, drawn.target, np.where(np.arange(6) < 4, drawn.english, -1))
    both = normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    stage = StaticRecipe(
        steps=1,
        batch_pairs=6,
        temperature=0.1,
        distillation=2.0,
        distillation_temperature=0.2,
        cosine_distillation=3.0,
    )

    def nce(left: torch.Tensor, right: torch.Tensor, temperature: float) -> torch.Tensor:
        scores, partner = left @ right.T / temperature, torch.arange(len(left))
        return (cross_entropy(scores, partner) + cross_entropy(scores.T, partner)) / 2

    source, target = both[:6], both[6:]
    wanted = data.teacher.of(tokens.table_row[drawn.english[:4]])
    ranking = (nce(source[:4], wanted, 0.2) + nce(target[:4], wanted, 0.2)) / 2
    distance = 1 - ((source[:4] * wanted).sum(1) + (target[:4] * wanted).sum(1)).mean() / 2
    expected = nce(source, target, 0.1) + 2 * ranking + 3 * distance
    loss, parts = data.loss(both, batch, stage)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert parts["distance"] == pytest.approx(float(distance), rel=1e-4)


def test_without_a_teacher_only_the_contrast_is_left(tokens: TokenizedCorpus) -> None:
    data = _data(tokens)
    stage = StaticRecipe(steps=1, batch_pairs=6, distillation=0.0)
    both = normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    loss, parts = data.loss(both, data.sampler.batch(1, 6), stage)
    assert parts == {"contrast": pytest.approx(float(loss))}


def test_validation_counts_partners_found_both_ways() -> None:
    vectors = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [1.0, 0.0], 3: [0.6, 0.8]}
    batch = PairBatch(np.array([0, 1]), np.array([2, 3]), np.array([-1, -1]))
    found = validation(batch, lambda rows: torch.tensor([vectors[int(row)] for row in rows]))()
    assert found == {"validation_accuracy": 1.0}
    batch = PairBatch(np.array([0, 1]), np.array([3, 2]), np.array([-1, -1]))
    found = validation(batch, lambda rows: torch.tensor([vectors[int(row)] for row in rows]))()
    assert found == {"validation_accuracy": 0.0}
