"""Fixtures that every package's tests share."""

from __future__ import annotations

import pytest

from models.bundle import Bundle
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, written once for the whole run and never changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
