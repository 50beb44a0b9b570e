from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.terms.tiny import open_encoder
from training.embedding import Encoder


@pytest.fixture(scope="module")
def encoder(bert_folder: Path) -> Encoder:
    return open_encoder(bert_folder)
