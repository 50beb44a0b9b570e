"""The demonstration: short passages in twelve languages, which LICENCE.md says whose they are."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

PASSAGES = Path(__file__).with_name("passages.jsonl")


@cache
def passages() -> tuple[dict[str, Any], ...]:
    """All passages, as `POST /collections/{name}/documents` takes them."""
    lines = PASSAGES.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)
