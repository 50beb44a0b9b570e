from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.objectives.slow import cosine, normal
from training.objectives import mining
from training.objectives.mining import hard_negatives


def slow_negatives(
    queries: np.ndarray, targets: np.ndarray, partner: np.ndarray, k: int, share: float
) -> list[list[tuple[float, int]]]:
    """The nearest first, by sorting all that are allowed."""
    found = []
    for query, own in zip(queries, partner, strict=True):
        best = cosine(query, targets[own])
        limit = share * best if best > 0 else (2 - share) * best
        allowed = [
            (score, place)
            for place, target in enumerate(targets)
            if place != own and (score := cosine(query, target)) < limit
        ]
        found.append(sorted(allowed, reverse=True)[:k])
    return found


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(0, 7),
    targets=st.integers(1, 30),
    k=st.integers(1, 6),
    share=st.sampled_from([0.5, 0.95]),
    tile=st.sampled_from([(1, 1), (2, 4), (100, 100)]),
)
def test_mined_are_the_nearest_that_are_allowed(
    seed: int, queries: int, targets: int, k: int, share: float, tile: tuple[int, int]
) -> None:
    some, all_targets = normal(seed, queries, 3), normal(seed + 1, targets, 3)
    partner = np.random.default_rng(seed).integers(targets, size=queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "_TILE_ROWS", tile[0])
        patch.setattr(mining, "_TILE_COLUMNS", tile[1])
        found = hard_negatives(
            torch.tensor(some), torch.tensor(all_targets), torch.tensor(partner), k, share
        )
    assert found.indices.shape == found.scores.shape == (queries, k)
    expected = slow_negatives(some, all_targets, partner, k, share)
    for row, wanted in enumerate(expected):
        missing = k - len(wanted)
        assert found.indices[row].tolist() == [place for _, place in wanted] + [-1] * missing
        assert found.scores[row, : len(wanted)].tolist() == pytest.approx(
            [score for score, _ in wanted]
        )
        assert found.found[row].tolist() == [True] * len(wanted) + [False] * missing
        assert found.scores[row, len(wanted) :].isneginf().all()


def test_copies_of_the_partner_are_never_mined() -> None:
    vectors = torch.nn.functional.normalize(torch.tensor(normal(0, 50, 8)).float())
    targets = torch.cat([vectors, vectors, vectors[:, :1].expand(-1, 8)])
    found = hard_negatives(vectors, targets, torch.arange(50), 5)
    copies = found.indices % 50 == torch.arange(50)[:, None]
    assert not (copies & (found.indices < 100) & found.found).any()


def test_the_partner_is_never_mined_by_rounding() -> None:
    # So near to 1 that only the last bit of a float32 cosine tells the partner from the limit.
    queries, targets = (torch.tensor(normal(seed, 300, 16)).float() for seed in (0, 1))
    partner = torch.arange(300)
    found = hard_negatives(queries, targets, partner, 300, share=1 - 1e-9)
    assert not (found.indices == partner[:, None]).any()


def test_mining_leaves_no_graph() -> None:
    vectors = torch.ones(2, 3, requires_grad=True)
    assert not hard_negatives(vectors, vectors, torch.arange(2), 1).scores.requires_grad


@pytest.mark.parametrize(("k", "share"), [(0, 0.5), (1, 0.0), (1, 1.0)])
def test_what_makes_no_sense_is_refused(k: int, share: float) -> None:
    with pytest.raises(ValueError, match="use k of 1 or more, and 0 < share < 1"):
        hard_negatives(torch.ones(2, 3), torch.ones(2, 3), torch.arange(2), k, share)


def test_every_query_needs_a_partner() -> None:
    with pytest.raises(ValueError, match="2 queries need a partner each"):
        hard_negatives(torch.ones(2, 3), torch.ones(2, 3), torch.arange(3), 1)
