"""JSON values that are equal, as far as two processors agree."""

from __future__ import annotations

from typing import Any

import pytest


def assert_alike(value: Any, shown: Any) -> None:  # noqa: ANN401
    """Equal, but for the last digits of floats, which differ from one processor to another."""
    if isinstance(shown, dict):
        assert value.keys() == shown.keys()
        for key in shown:
            assert_alike(value[key], shown[key])
    elif isinstance(shown, list):
        assert len(value) == len(shown)
        for one, other in zip(value, shown, strict=True):
            assert_alike(one, other)
    elif isinstance(shown, float):
        assert value == pytest.approx(shown, abs=2e-3)
    else:
        assert value == shown
