"""A bundle to spoil, anew for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bundle import write
from tests.models.made import FILES, manifest_values


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that opens, for a test to spoil."""
    return write(tmp_path / "good", manifest_values(), FILES).path
