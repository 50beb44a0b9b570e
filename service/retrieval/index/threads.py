"""FAISS's threads, held so that they do not take the model's cores.

OpenMP's number of threads belongs to the thread that calls, not to the process: a number set once
in `main` holds nowhere else, and each request thread would start a team of its own, one thread for
each core, which spins for a while after every search. So each search sets it to one, in its own
thread: then there is no team and nothing spins, and cores are shared by answering several requests
at a time. Builds take as many as they are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import faiss


@contextmanager
def single_thread() -> Iterator[None]:
    """FAISS computes in the calling thread alone."""
    with threads(1):
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """FAISS computes in `count` threads where this thread calls it."""
    before = faiss.omp_get_max_threads()
    if before != count:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            faiss.omp_set_num_threads(before)
