"""Which runtime computes the model, in which precision, on which device: a table, fastest first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.bundle import Manifest
from models.precision import Precision
from service.settings import Settings, SettingsError


class Runtime(StrEnum):
    """The library that computes the graph."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    # ONNX Runtime too, with TensorRT's kernels where it has them.
    TENSORRT = "tensorrt"


class Device(StrEnum):
    """What the graph is computed on."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is installed and what the hardware can do, as far as the choice depends on it."""

    runtimes: frozenset[Runtime]
    # Whether the processor multiplies bfloat16 and int8 in one instruction.
    bfloat16: bool = False
    int8: bool = False
    # Whether there is a GPU and an ONNX Runtime that is built for it.
    cuda: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None leaves it to the table."""

    runtime: Runtime | None = None
    precision: Precision | None = None
    device: Device | None = None

    @classmethod
    def of(cls, settings: Settings) -> Wish:
        """What `settings` ask for."""
        return cls(
            None if settings.runtime == "auto" else Runtime(settings.runtime),
            None if settings.precision == "auto" else Precision(settings.precision),
            None if settings.device == "auto" else Device(settings.device),
        )

    def __str__(self) -> str:
        parts = {"runtime": self.runtime, "precision": self.precision, "device": self.device}
        return " ".join(f"{name} {value or 'auto'}" for name, value in parts.items())


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to compute a model."""

    device: Device
    runtime: Runtime
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision} on {self.device}"


# Every way there is, the fastest first as `python -m benchmarks.runtimes` ranks them. The flag:
# whether it may be taken without being asked for. TensorRT builds engines for minutes before it
# starts.
WAYS: tuple[tuple[Choice, bool], ...] = (
    (Choice(Device.CUDA, Runtime.ONNXRUNTIME, Precision.FLOAT16), True),
    (Choice(Device.CUDA, Runtime.ONNXRUNTIME, Precision.FLOAT32), True),
    (Choice(Device.CUDA, Runtime.TENSORRT, Precision.FLOAT16), False),
    (Choice(Device.CUDA, Runtime.TENSORRT, Precision.FLOAT32), False),
    (Choice(Device.CPU, Runtime.OPENVINO, Precision.INT8), True),
    (Choice(Device.CPU, Runtime.OPENVINO, Precision.BFLOAT16), True),
    (Choice(Device.CPU, Runtime.OPENVINO, Precision.FLOAT32), True),
    (Choice(Device.CPU, Runtime.ONNXRUNTIME, Precision.FLOAT32), True),
)


def choose(wish: Wish, machine: Machine, manifest: Manifest) -> Choice:
    """The fastest way that `wish` allows, this machine can go and the bundle's vectors survive.

    A precision that was not asked for is taken only where the bundle's measured fidelity of it
    qualifies. Raises SettingsError, which tells why each way that was asked for is closed: what
    was asked for is never replaced by something else.
    """
    reasons: dict[str, None] = {}  # in order, each once
    for way, by_itself in WAYS:
        if not _matches(wish, way):
            continue
        if not by_itself and way.runtime is not wish.runtime:
            reasons[f"{way} must be asked for by its runtime"] = None
        elif obstacle := _obstacle(way, machine, manifest):
            reasons[obstacle] = None
        elif wish.precision is None and (doubt := _doubt(way.precision, manifest)):
            reasons[doubt] = None
        else:
            return way
    if not reasons:
        exist = ", ".join(str(way) for way, _ in WAYS)
        raise SettingsError(f"{wish}: there is no such combination; there is {exist}")
    raise SettingsError(f"{wish} cannot run here: {'; '.join(reasons)}; or ask for auto")


def _matches(wish: Wish, way: Choice) -> bool:
    return (
        wish.runtime in (None, way.runtime)
        and wish.precision in (None, way.precision)
        and wish.device in (None, way.device)
    )


def _obstacle(way: Choice, machine: Machine, manifest: Manifest) -> str | None:
    """Why `way` cannot be gone here, or None."""
    if way.device is Device.CUDA and not machine.cuda:
        return "no CUDA GPU is found with onnxruntime-gpu installed (the extra gpu)"
    if way.runtime not in machine.runtimes:
        return f"{way.runtime} is not installed (see the extras cpu and gpu)"
    if way.precision is Precision.BFLOAT16 and not machine.bfloat16:
        return "the processor has no instructions for bfloat16"
    if way.precision is Precision.INT8 and not machine.int8:
        return "the processor has no instructions for int8"
    if way.precision is not Precision.BFLOAT16 and way.precision not in manifest.graphs:
        has = ", ".join(manifest.graphs)
        return f"the bundle has no graph of {way.precision}, only of {has}; see docs/precisions.md"
    return None


def _doubt(precision: Precision, manifest: Manifest) -> str | None:
    """Why vectors of `precision` may not be given to those who did not ask for it, or None."""
    if precision is Precision.FLOAT32:
        return None
    fidelity = manifest.fidelity.get(precision)
    if fidelity is None:
        return f"the bundle does not say how faithful {precision} is"
    return None if fidelity.qualifies else f"{precision} is not faithful enough to be the default"
