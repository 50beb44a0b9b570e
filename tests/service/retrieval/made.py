"""Documents and vectors made up for tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from service.retrieval.values import Entry, Floats, Space

DIMENSIONS = 8
SPACE = Space("tiny", "0.1.0", "sentence")
OTHER = Space("tiny", "0.1.0", "phrase")


def entry(
    id_: str,
    text: str | None = None,
    *,
    language: str = "en",
    granularity: str | None = "sentence",
    space: Space = SPACE,
    **metadata: Any,  # noqa: ANN401
) -> Entry:
    """A document on its way in."""
    return Entry(
        id=id_,
        text=text or f"text of {id_}",
        language=language,
        granularity=granularity,
        metadata=json.dumps(metadata, ensure_ascii=False).encode(),
        space=space,
    )


def unit(count: int, seed: int = 0) -> Floats:
    """Random rows of length 1: (count, DIMENSIONS)."""
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
