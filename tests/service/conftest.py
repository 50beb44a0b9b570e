"""What tests of the service share."""

from __future__ import annotations

import os

import pytest

from models.bundle import Bundle
from service.encoding.encoder import Encoder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POLYGRAIN_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def encoder(tiny_bundle: Bundle) -> Encoder:
    """The tiny bundle at work, on one core."""
    return Encoder.open(tiny_bundle.path, threads=1)
