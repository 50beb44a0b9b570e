"""Where a run computes: the CPU, or a CUDA device."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from training.errors import TrainingError


class Device(StrEnum):
    """What a user asks for; `AUTO` is CUDA where there is any, and the CPU elsewhere."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def choose(wanted: Device) -> torch.device:
    """The device to train on; TrainingError where CUDA is asked for and there is none."""
    if wanted is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted is Device.CUDA and not torch.cuda.is_available():
        raise TrainingError(
            "device is cuda, and torch finds no CUDA device: use cpu or auto, or install a torch "
            "built for CUDA"
        )
    return torch.device(wanted)


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor whose copy to `device` need not be waited for."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
