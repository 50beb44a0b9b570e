from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.training.objectives.memory import LargestTensor
from tests.training.objectives.slow import cosine, leaf, log_share, normal
from training.objectives import late
from training.objectives.contrastive import Direction
from training.objectives.late import late_info_nce, maxsim


def mask(seed: int, texts: int, tokens: int) -> np.ndarray:
    """Any tokens may be left out, but never all of a text's."""
    found = np.random.default_rng(seed).random((texts, tokens)) < 0.6
    found[~found.any(1), 0] = True
    return found


def slow_maxsim(
    queries: np.ndarray, documents: np.ndarray, query_mask: np.ndarray, document_mask: np.ndarray
) -> np.ndarray:
    scores = np.zeros((len(queries), len(documents)))
    for q, d in np.ndindex(*scores.shape):
        scores[q, d] = np.mean(
            [
                max(cosine(token, other) for other in documents[d][document_mask[d]])
                for token in queries[q][query_mask[q]]
            ]
        )
    return scores


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 4),
    documents=st.integers(1, 4),
    cells=st.sampled_from([1, 20, 30, 10_000]),
)
def test_scores_are_means_of_best_cosines(
    seed: int, queries: int, documents: int, cells: int
) -> None:
    given = (
        normal(seed, queries, 2, 3),
        normal(seed + 1, documents, 3, 3),
        mask(seed, queries, 2),
        mask(seed + 1, documents, 3),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(late, "_TILE_CELLS", cells)
        found = maxsim(*map(torch.tensor, given))
    np.testing.assert_allclose(found.numpy(), slow_maxsim(*given), atol=1e-9)


@pytest.mark.parametrize("direction", Direction)
def test_info_nce_is_over_these_scores(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "_TILE_CELLS", 20)
    sides = normal(0, 3, 2, 3), normal(1, 3, 4, 3)
    masks = mask(0, 3, 2), mask(1, 3, 4)
    ways = [slow_maxsim(*sides, *masks)]
    if direction is Direction.SYMMETRIC:
        ways.append(slow_maxsim(*sides[::-1], *masks[::-1]))
    losses = [-log_share(list(scores[i]), i, 0.2) for scores in ways for i in range(3)]
    kept = torch.tensor(masks[0]), torch.tensor(masks[1])
    given = leaf(sides[0]), leaf(sides[1])
    loss = late_info_nce(*given, *kept, 0.2, direction)
    assert loss.item() == pytest.approx(sum(losses) / len(losses))
    assert gradcheck(lambda a, b: late_info_nce(a, b, *kept, 0.5, direction), given)


def test_no_tensor_of_all_token_pairs_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "_TILE_CELLS", 500)
    texts, tokens = 16, 5
    vectors = leaf(normal(0, texts, tokens, 2))
    everything = torch.ones(texts, tokens, dtype=torch.bool)
    with LargestTensor() as largest:
        late_info_nce(vectors, vectors, everything, everything, 0.1).backward()  # type: ignore[no-untyped-call]
    assert largest.numel <= 500 < (texts * tokens) ** 2


def test_a_text_without_tokens_is_refused() -> None:
    vectors, some = torch.ones(2, 2, 3), torch.tensor([[True, True], [False, False]])
    everything = torch.ones(2, 2, dtype=torch.bool)
    for masks in [(some, everything), (everything, some)]:
        with pytest.raises(ValueError, match="a text has no token to compare"):
            maxsim(vectors, vectors, *masks)


def test_lists_of_unlike_length_are_no_pairs() -> None:
    mask = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="3 and 2 texts are no pairs"):
        late_info_nce(torch.ones(3, 2, 3), torch.ones(2, 2, 3), mask, mask[:2], 0.1)
