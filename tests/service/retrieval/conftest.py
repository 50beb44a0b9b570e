"""What tests of collections share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.retrieval.folder import Collections


@pytest.fixture
def collections(tmp_path: Path) -> Iterator[Collections]:
    """The collections of an empty state folder."""
    opened = Collections(tmp_path / "state")
    yield opened
    opened.close()
