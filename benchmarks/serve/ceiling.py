"""The chip's ceiling: the rate of a matrix product that does nothing else, in one precision.

Runs as a `Worker`, so that torch and its threads are not in the load generator's process.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from benchmarks.serve.processes import answer_tasks

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
# Larger than the products of an encoder, so that nothing but arithmetic counts.
_SIZE = 1_536


def gflops(precision: str, seconds: float) -> float:
    """10⁹ multiplications and additions a second of square products, on all cores."""
    dtype = PRECISIONS[precision]
    one, other = (torch.rand(_SIZE, _SIZE).to(dtype) for _ in range(2))
    torch.mm(one, other)
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not count:
        torch.mm(one, other)
        count += 1
    return 2 * _SIZE**3 * count / elapsed / 1e9


def main() -> None:
    """Answer tasks until the input ends."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))

    def handle(task: dict[str, Any]) -> dict[str, Any]:
        return {name: gflops(name, task["seconds"]) for name in PRECISIONS}

    answer_tasks(handle)


if __name__ == "__main__":
    main()
