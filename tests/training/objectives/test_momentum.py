from __future__ import annotations

import io
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.training.objectives.slow import normal
from training.objectives.momentum import KeyQueue, momentum_update


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 7),
    pushes=st.lists(st.integers(0, 9), max_size=6),
    cut=st.integers(0, 6),
)
@example(size=3, pushes=[2, 2, 1], cut=2)  # full, and the next place is not the first
@example(size=3, pushes=[2, 1], cut=1)  # not full yet
def test_the_latest_keys_are_held_through_a_checkpoint(
    size: int, pushes: list[int], cut: int
) -> None:
    queue, latest = KeyQueue(size, 3), deque[tuple[float, ...]](maxlen=size)
    for number, count in enumerate(pushes):
        if number == cut:
            file = io.BytesIO()
            torch.save(queue.state_dict(), file)
            file.seek(0)
            queue = KeyQueue(size, 3)
            queue.load_state_dict(torch.load(file, weights_only=True))
        keys = normal(number, count, 3)
        queue.push(torch.tensor(keys))
        latest.extend(tuple(key / np.linalg.norm(key)) for key in keys)
    assert queue.keys.shape == (len(latest), 3)
    found = np.array(sorted(map(tuple, queue.keys.tolist()))).reshape(-1, 3)
    np.testing.assert_allclose(found, np.array(sorted(latest)).reshape(-1, 3), atol=1e-6)


def test_a_state_does_not_change_with_the_queue() -> None:
    queue = KeyQueue(2, 3)
    queue.push(torch.eye(3)[:1])
    state = queue.state_dict()
    queue.push(torch.eye(3)[1:])
    assert state["keys"].tolist() == [[1, 0, 0]]


def test_keys_carry_no_gradient() -> None:
    queue = KeyQueue(2, 3)
    queue.push(torch.ones(1, 3, requires_grad=True))
    assert not queue.keys.requires_grad


@pytest.mark.parametrize("other", [KeyQueue(3, 4), KeyQueue(4, 3)])
def test_another_queues_state_is_refused(other: KeyQueue) -> None:
    with pytest.raises(ValueError, match="a queue of 3 keys of 3 cannot go on from one of"):
        KeyQueue(3, 3).load_state_dict(other.state_dict())


def test_what_is_no_queue_and_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a queue of 0 keys holds none"):
        KeyQueue(0, 3)
    with pytest.raises(ValueError, match=r"are not \(any, 3\)"):
        KeyQueue(2, 3).push(torch.ones(1, 4))


def test_the_key_encoder_follows_slowly() -> None:
    keys, queries = normal(0, 2, 3), normal(1, 2, 3)
    expected = 0.9 * (0.9 * keys + 0.1 * queries) + 0.1 * queries
    key = torch.nn.Parameter(torch.tensor(keys))
    query = torch.nn.Parameter(torch.tensor(queries))
    for _ in range(2):
        momentum_update([key], [query], 0.9)
    np.testing.assert_allclose(key.detach().numpy(), expected)
    np.testing.assert_array_equal(query.detach().numpy(), queries)
    assert key.requires_grad
    assert key.grad_fn is None


def test_encoders_that_differ_are_refused() -> None:
    one, other = torch.ones(2), torch.ones(3)
    with pytest.raises(ValueError, match="make the key encoder a copy"):
        momentum_update([one], [other], 0.9)
    with pytest.raises(ValueError, match="shorter"):
        momentum_update([one, one], [one], 0.9)
    with pytest.raises(ValueError, match=r"momentum is 1\.1; use 0"):
        momentum_update([one], [one], 1.1)
