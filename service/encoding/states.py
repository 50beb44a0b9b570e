"""Texts in, the states of their tokens out: what words are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.encoding.session import Vectors
from service.encoding.texts import Facts
from service.encoding.tokenizer import Integers, Row, Span


@dataclass(frozen=True, slots=True)
class TokenStates:
    """The tokens of one text, special ones left out."""

    states: Vectors  # (tokens, dimension), as the adapter leaves them, not normalised
    offsets: Integers  # (tokens, 2): characters from and up to
    facts: Facts


@dataclass(frozen=True, slots=True)
class PreparedStates:
    """A request for states in the form that the model takes: distinct rows, and whose they are."""

    rows: tuple[Row, ...]
    # For each text: its rows as indices into `rows`, and the window of its tokens in each.
    parts: tuple[tuple[tuple[int, Span], ...], ...]
    offsets: tuple[Integers, ...]
    facts: tuple[Facts, ...]
    # Special tokens before those of a text.
    prefix: int

    @property
    def tokens(self) -> int:
        """What the model has to read, without padding."""
        return sum(map(len, self.rows))

    def finish(self, states: Sequence[Vectors] | NDArray[Any]) -> list[TokenStates]:
        """The states of each text from those of the rows, each (its tokens, dimension).

        Where windows overlap, the mean of both.
        """
        return [
            TokenStates(self._joined(states, parts, len(offsets)), offsets, facts)
            for parts, offsets, facts in zip(self.parts, self.offsets, self.facts, strict=True)
        ]

    def _joined(
        self,
        states: Sequence[Vectors] | NDArray[Any],
        parts: tuple[tuple[int, Span], ...],
        tokens: int,
    ) -> Vectors:
        total = np.zeros((tokens, states[parts[0][0]].shape[1]), np.float32)
        count = np.zeros((tokens, 1), np.float32)
        for row, span in parts:
            start = self.prefix
            total[span.start : span.end] += states[row][start : start + span.end - span.start]
            count[span.start : span.end] += 1
        return (total / np.maximum(count, 1)).astype(np.float32, copy=False)
