"""What momentum contrast keeps from step to step: a queue of keys, and an encoder that follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from training.objectives.cosine import unit


class KeyQueue:
    """The latest keys, at most `size` of them, as negatives for batches to come (MoCo, He et al.,
    2020). It is a part of a stage's state: a checkpoint holds it."""

    def __init__(self, size: int, dimension: int, device: torch.device | None = None) -> None:
        """An empty queue of float32 keys of `dimension`."""
        if size < 1:
            raise ValueError(f"a queue of {size} keys holds none; give a size of 1 or more")
        self._keys = torch.zeros(size, dimension, device=device)
        self._next = 0
        self._filled = 0

    @property
    def keys(self) -> Tensor:
        """The keys, float32 (filled, dim), unit rows, in no order; a view that `push` changes."""
        return self._keys[: self._filled]

    def push(self, keys: Tensor) -> None:
        """Add `keys`, (any, dim), in place of the oldest; call it after the step's backward.

        Of more than the queue holds, the last stay. Raises ValueError where the width differs.
        """
        size, dimension = self._keys.shape
        if keys.dim() != 2 or keys.shape[1] != dimension:
            raise ValueError(f"keys of shape {tuple(keys.shape)} are not (any, {dimension})")
        kept = unit(keys.detach()[-size:]).to(self._keys)
        places = (torch.arange(len(kept), device=self._keys.device) + self._next) % size
        self._keys[places] = kept
        self._next = (self._next + len(kept)) % size
        self._filled = min(size, self._filled + len(kept))

    def state_dict(self) -> dict[str, Any]:
        """The keys and where the next one goes."""
        return {"keys": self.keys.clone(), "next": self._next, "size": len(self._keys)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Be as the queue was that gave `state_dict`.

        Raises ValueError where that queue was of another size or width.
        """
        keys: Tensor = state_dict["keys"]
        size, dimension = self._keys.shape
        if (state_dict["size"], keys.shape[1]) != (size, dimension):
            raise ValueError(
                f"a queue of {size} keys of {dimension} cannot go on from one of "
                f"{state_dict['size']} keys of {keys.shape[1]}; keep what the run began with"
            )
        self._keys[: len(keys)] = keys
        self._next, self._filled = state_dict["next"], len(keys)


def momentum_update(
    key_parameters: Iterable[Tensor], query_parameters: Iterable[Tensor], momentum: float
) -> None:
    """Move the key encoder's parameters towards the query encoder's, in place.

    k <- m k + (1 - m) q (He et al., 2020; m = 0.9995 in Contriever). The two list the same
    parameters in one order. Raises ValueError where they do not, or m is not in [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}; use 0 (copy at once) to 1 (never move)")
    with torch.no_grad():
        for key, query in zip(key_parameters, query_parameters, strict=True):
            if key.shape != query.shape:
                raise ValueError(
                    f"parameters of {tuple(key.shape)} and {tuple(query.shape)} are not the same; "
                    "make the key encoder a copy of the query encoder"
                )
            key.lerp_(query.to(key), 1 - momentum)
