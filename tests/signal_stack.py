"""What OpenVINO leaves behind in the process that tests share."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

_SS_DISABLE = 2


class _Stack(ctypes.Structure):
    """C's stack_t."""

    _fields_ = (
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@pytest.fixture(scope="package", autouse=True)
def no_signal_stack_is_left() -> Iterator[None]:
    """OpenVINO gives the thread that compiles a model a stack for signal handlers, and where
    another thread releases the model last, that stack is freed and stays registered: the next
    signal of a later test would end the process."""
    yield
    off = _Stack(None, _SS_DISABLE, 0)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(off), None) == 0
