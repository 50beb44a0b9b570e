"""What the tests of commands share."""

from __future__ import annotations

import pytest

from models.bundle import Bundle


@pytest.fixture
def bundle(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle as the one that the environment names."""
    monkeypatch.setenv("POLYGRAIN_BUNDLE", str(tiny_bundle.path))
    monkeypatch.setenv("POLYGRAIN_THREADS", "1")
    return tiny_bundle
