"""What NNCF's compilations leave behind in the process that tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.encoding.session.signal_stack import kept_signal_stack


@pytest.fixture(scope="package", autouse=True)
def no_signal_stack_is_left() -> Iterator[None]:
    """Or else the next signal of a later test may end the process."""
    with kept_signal_stack():
        yield
