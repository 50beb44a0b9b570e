"""Fixtures that every package's tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from models.bundle import Bundle
from tests.tiny_bundle import write_tiny_bundle

# No assertion depends on time: a machine may be busy, and the first example may load a library.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, written once for the whole run and never changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
