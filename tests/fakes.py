"""Stand-ins for the model, for what a real one does too rarely to wait for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from models.bundle import Bundle
from service.encoding.encoder import Encoder
from service.encoding.session import Session, Vectors
from service.encoding.tokenizer import Batch, Tokenizer
from service.errors import InferenceFailed

# Longest that a fake waits for its test; a test that gets there has failed.
PATIENCE_S = 30


class GatedSession(Session):
    """The real session behind a gate: every batch waits until the test opens it."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner
        self.choice = inner.choice
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.rows: list[list[int]] = []  # the token ids of every row that came, padding included

    def embed(self, batch: Batch) -> Vectors:
        self.rows.extend(batch.input_ids.tolist())
        self.entered.set()
        if not self.gate.wait(PATIENCE_S):
            raise TimeoutError("no test opened the gate")
        return self._inner.embed(batch)


class FailingSession(Session):
    """The real session, but a batch with a token of `poison` in it fails."""

    def __init__(self, inner: Session, poison: Sequence[int]) -> None:
        self._inner = inner
        self.choice = inner.choice
        self._poison = list(poison)

    def embed(self, batch: Batch) -> Vectors:
        if np.isin(batch.input_ids, self._poison).any():
            raise InferenceFailed("the model failed: a secret of the runtime")
        return self._inner.embed(batch)


class ShortSession(Session):
    """A session that loses the last row of every batch."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner
        self.choice = inner.choice

    def embed(self, batch: Batch) -> Vectors:
        return self._inner.embed(batch)[:-1]


def gated_encoder(bundle: Bundle) -> tuple[Encoder, GatedSession]:
    """An encoder of `bundle` whose model waits for the test."""
    session = GatedSession(Session.open(bundle, 1))
    return Encoder(bundle, Tokenizer.open(bundle), session), session
