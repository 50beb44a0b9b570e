"""What the process of one measurement is given and gives, and how it measures itself."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import adapters
import torch
import transformers
from torch import nn

from benchmarks.usage import bytes_of

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """One training of one case; all that both sides have to do alike."""

    case: str
    precision: str  # "float32" or "bfloat16"
    device: str  # "cpu" or "cuda"
    backbone: str
    teacher: str
    pairs: str  # the file of `pairs.write`
    batch_pairs: int
    max_tokens: int
    chunk_tokens: int
    warmup_steps: int
    timed_steps: int
    threads: int
    seed: int
    mask_token: str | None = None
    learning_rate: float = 1e-3
    temperature: float = 0.05

    @property
    def total_steps(self) -> int:
        """One more than is timed: a step ends where the next begins."""
        return self.warmup_steps + self.timed_steps + 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one process found of itself."""

    texts_per_s: float
    peak_mib: float  # resident memory
    before_mib: float  # the same, with everything loaded, before the first step
    peak_cuda_mib: float | None
    trainable: int  # weights
    losses: tuple[float, ...]  # of every step
    versions: Mapping[str, str]


@dataclass
class Clock:
    """When steps began, and what they lost."""

    job: Job
    began: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    before_mib: float = 0.0

    def begin_step(self) -> None:
        """To be called as each step begins. CUDA is waited for at both ends of the timed steps."""
        step = len(self.began)
        if step == 0:
            self.before_mib = resident_mib("VmRSS")
        if self.job.device == "cuda" and step in (self.job.warmup_steps, self.job.total_steps - 1):
            torch.cuda.synchronize()
        self.began.append(time.perf_counter())

    def measurement(
        self, model: nn.Module, versions: Mapping[str, str], more_seconds: float = 0.0
    ) -> Measurement:
        """What was found; `more_seconds` went into the timed steps' texts before training."""
        if len(self.began) != self.job.total_steps:
            raise RuntimeError(f"{len(self.began)} steps of {self.job.total_steps} were trained")
        seconds = self.began[-1] - self.began[self.job.warmup_steps] + more_seconds
        cuda = self.job.device == "cuda"
        return Measurement(
            texts_per_s=2 * self.job.batch_pairs * self.job.timed_steps / seconds,
            # The kernel counts by processor and adds up late: its maximum may lag by a little.
            peak_mib=max(resident_mib("VmHWM"), self.before_mib),
            before_mib=self.before_mib,
            peak_cuda_mib=torch.cuda.max_memory_allocated() / MIB if cuda else None,
            trainable=sum(each.numel() for each in model.parameters() if each.requires_grad),
            losses=tuple(self.losses),
            versions={
                "Python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "adapters": adapters.__version__,
                **versions,
            },
        )


def resident_mib(name: str) -> float:
    """This process's resident memory now (VmRSS), or at most so far (VmHWM).

    Not `getrusage`, whose maximum is that of the process before exec too. Raises RuntimeError
    where the system does not tell.
    """
    try:
        return bytes_of("self", "status", name) / MIB
    except (FileNotFoundError, KeyError):
        raise RuntimeError(f"/proc tells no {name}; this benchmark needs Linux") from None


def main(measure: Callable[[Job], Measurement]) -> None:
    """The program of a side: `python -m … JOB.json MEASUREMENT.json`."""
    given, found = map(Path, sys.argv[1:])
    job = Job(**json.loads(given.read_text(encoding="utf-8")))
    torch.set_num_threads(job.threads)
    write(found, measure(job))


def write(file: Path, value: Job | Measurement) -> None:
    """Write a value for the other process to read."""
    file.write_text(json.dumps(asdict(value), ensure_ascii=False), encoding="utf-8")


def read_measurement(file: Path) -> Measurement:
    """What a side wrote."""
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Measurement(**{**values, "losses": tuple(values["losses"])})
