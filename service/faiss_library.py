"""FAISS, loaded with the right kernels, and its threads held.

Two things in the wheels of FAISS 1.15 make it several times slower than it is, and are set right
here. The OpenBLAS inside (0.3.15) knows no Intel processor younger than itself and takes the
kernels of a Pentium 4 (`Prescott`); it is told the instruction set while it loads. And a batch is
compared by a matrix product, which reads each row once for all queries, only where its queries
times their dimensions come to 128,000 (`distance_compute_blas_threshold`); with the right kernels
that pays off from six queries of 384.

OpenMP's number of threads belongs to the thread that calls, not to the process: a number set once
in `main` holds nowhere else, and each request thread would start a team of its own, one thread for
each core, which spins for a while after every search. So each search sets it to one, in its own
thread: then there is no team and nothing spins, and cores are shared by answering several requests
at a time. The model's runtimes have their own pools, which this leaves alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CORE_VARIABLE = "OPENBLAS_CORETYPE"
SHIPPED_THRESHOLD = 128_000
_PRODUCT_THRESHOLD = 6 * 384


def blas_core(cpuinfo: str) -> str | None:
    """The OpenBLAS kernels for the processor that /proc/cpuinfo describes; None: its own choice."""
    if "GenuineIntel" not in cpuinfo:
        return None
    flags = cpuinfo.partition("\nflags")[2].partition("\n")[0].split()
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= set(flags):
        return "SkylakeX"
    return "Haswell" if "avx2" in flags else None


@contextmanager
def _kernels() -> Iterator[None]:
    """The variable that OpenBLAS reads while it loads, set and taken back."""
    try:
        core = blas_core(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace"))
    except OSError:  # another system than Linux
        core = None
    if core is None or _CORE_VARIABLE in os.environ:
        yield
        return
    os.environ[_CORE_VARIABLE] = core
    try:
        yield
    finally:
        del os.environ[_CORE_VARIABLE]


# Its five lines on which file it loaded are no news for an operator.
logging.getLogger("faiss.loader").setLevel(logging.WARNING)

with _kernels():
    import faiss

faiss.cvar.distance_compute_blas_threshold = _PRODUCT_THRESHOLD

__all__ = ["SHIPPED_THRESHOLD", "blas_core", "faiss", "threads"]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """FAISS computes in `count` threads where this thread calls it; with 1 in the caller alone."""
    before = faiss.omp_get_max_threads()
    if before == count:
        yield
        return
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
