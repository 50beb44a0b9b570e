"""Fidelity is what brute force says it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.precisions.fidelity import embed, measure, overlap
from training.precisions.running import Feed, Runner, Vectors
from training.precisions.texts import Text

DIMENSION = 16


def unit(values: np.ndarray) -> Vectors:
    rows: Vectors = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return rows


def of_ids(feed: Feed, noise: float = 0.0) -> Vectors:
    """A vector for each text, from its ids alone, and moved by how wide its batch is."""
    rows = []
    for ids, mask in zip(feed["input_ids"], feed["attention_mask"], strict=True):
        rng = np.random.default_rng(ids[mask == 1].tolist())
        rows.append(rng.normal(size=DIMENSION) + noise * len(ids))
    return unit(np.array(rows))


def made_texts(count: int) -> list[Text]:
    rng = np.random.default_rng(5)
    return [
        Text(str(number), "en", tuple(rng.integers(1, 50, 2 + number % 18).tolist()), number % 3)
        for number in range(count)
    ]


def brute_overlap(vectors: Vectors, reference: Vectors, groups: list[int]) -> float:
    shares = []
    for row, group in enumerate(groups):
        others = [o for o, g in enumerate(groups) if g == group and o != row]
        if not others:
            continue
        near = [
            set(sorted(others, key=lambda o: -float(v[row] @ v[o]))[:10])
            for v in (vectors, reference)
        ]
        shares.append(len(near[0] & near[1]) / min(10, len(others)))
    return sum(shares) / len(shares)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(4, 40), groups=st.integers(1, 2))
def test_the_overlap_of_neighbours_is_that_of_brute_force(
    seed: int, count: int, groups: int
) -> None:
    rng = np.random.default_rng(seed)
    reference = unit(rng.normal(size=(count, DIMENSION)))
    vectors = unit(reference + rng.normal(scale=0.3, size=reference.shape))
    of = rng.integers(0, groups, count)
    of[:2] = 0
    assert overlap(vectors, reference, of) == pytest.approx(
        brute_overlap(vectors, reference, of.tolist())
    )


def test_a_perfect_runner_is_perfectly_faithful() -> None:
    texts = made_texts(50)
    runner = Runner(of_ids, "a runtime")
    found = measure(runner, embed(runner, texts, 0), texts, 0, "made up")
    assert (found.mean_cosine, found.worst_cosine) == pytest.approx((1, 1))
    assert (found.top10_overlap, found.batch_drift) == pytest.approx((1, 0), abs=1e-6)
    assert (found.texts, found.source, found.runtime) == (50, "made up", "a runtime")
    assert found.qualifies


def test_vectors_that_move_with_the_batch_are_found_out() -> None:
    texts = made_texts(50)
    reference = embed(Runner(of_ids, "exact"), texts, 0)
    moved = Runner(lambda feed: of_ids(feed, noise=0.05), "moving")
    found = measure(moved, reference, texts, 0, "made up")
    widest = {
        text.ids: of_ids(
            {
                "input_ids": np.array([[*text.ids] + [0] * (19 - len(text.ids))]),
                "attention_mask": np.array([[1] * len(text.ids) + [0] * (19 - len(text.ids))]),
            },
            0.05,
        )[0]
        for text in texts
    }
    # No batch is wider than the longest text, so the drift is bounded by that of the widest.
    bound = max(1 - float(vector @ of_ids(_alone(ids), 0.05)[0]) for ids, vector in widest.items())
    assert 0 < found.batch_drift <= bound + 1e-6
    assert found.largest_change > 1e-3
    assert not found.qualifies


def _alone(ids: tuple[int, ...]) -> Feed:
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}


def test_texts_come_back_in_their_order() -> None:
    texts = made_texts(37)
    vectors = embed(Runner(of_ids, "r"), texts, 0)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, of_ids(_alone(text.ids))[0], atol=1e-6)
