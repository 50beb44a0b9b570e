import numpy as np
import torch
from torch.nn.functional import normalize

from training.student.model import StudentConfig, StudentModel
from training.student.rotation import principal_axes, rotated, rows_of_all_kinds
from training.student.tokens import TokenizedCorpus


def test_axes_are_orthogonal_and_fall_in_what_they_say() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = normalize(torch.randn(500, 6, generator=generator) * torch.arange(1.0, 7), dim=1)
    axes = principal_axes(vectors)
    torch.testing.assert_close(axes @ axes.T, torch.eye(6), atol=1e-5, rtol=0)
    energy = (vectors @ axes.T).square().sum(0)
    assert (energy.diff() <= 0).all()
    # The first k axes keep as much of the vectors as any k can: numpy's singular values say so.
    singular = np.linalg.svd(vectors.numpy(), compute_uv=False) ** 2
    np.testing.assert_allclose(energy.numpy(), singular, rtol=1e-3)
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_a_rotated_model_has_the_same_cosines_in_other_coordinates() -> None:
    torch.manual_seed(0)
    config = StudentConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = StudentModel(config).eval()
    ids = torch.randint(3, 30, (5, 4))
    before = model(input_ids=ids).last_hidden_state
    axes = principal_axes(torch.randn(40, 8))
    turned = rotated(model, axes)
    after = turned(input_ids=ids).last_hidden_state
    torch.testing.assert_close(after, before @ axes.T, atol=1e-6, rtol=1e-5)
    one, other = (normalize(each.mean(1), dim=1) for each in (before, after))
    torch.testing.assert_close(one @ one.T, other @ other.T, atol=1e-5, rtol=0)
    assert model.config.rotated is False


def test_rows_are_drawn_once_each_and_alike_for_a_seed(tokens: TokenizedCorpus) -> None:
    rows = rows_of_all_kinds(tokens, 50, 1)
    assert len(np.unique(rows)) == 50
    np.testing.assert_array_equal(rows, rows_of_all_kinds(tokens, 50, 1))
    assert len(rows_of_all_kinds(tokens, 10**9, 1)) == len(tokens)
