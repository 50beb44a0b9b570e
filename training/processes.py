"""Several processes that train one model together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from training.objectives.gather import processes

__all__ = ["anyone", "is_first", "joined", "place", "processes", "wait"]


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes, if `torchrun` started more than this one; gives the device that
    this one trains on."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def place() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes files and talks."""
    return place() == 0


def wait() -> None:
    """Go on when all processes are here."""
    if processes() > 1:
        distributed.barrier()


def anyone(flag: bool) -> bool:
    """Whether `flag` is true in any process; all call it at the same point."""
    if processes() == 1:
        return flag
    on_cuda = distributed.get_backend() == "nccl"
    found = torch.tensor(int(flag), device="cuda" if on_cuda else "cpu")
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return bool(found.item())
