"""A thread keeps its stack for signal handlers, whatever a library registers instead."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """C's stack_t."""

    _fields_ = (
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Undo in the end what the calling thread was given as its alternate signal stack.

    OpenVINO registers one in the thread that compiles a model, and frees it with the model without
    taking it back, where another thread releases the model last: the next signal would end the
    process.
    """
    if sys.platform != "linux":  # sigaltstack(2), and stack_t as it is there
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = _Stack()
    _check(libc.sigaltstack(None, ctypes.byref(before)))
    try:
        yield
    finally:
        _check(libc.sigaltstack(ctypes.byref(before), None))


def _check(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"sigaltstack failed with errno {number}")
