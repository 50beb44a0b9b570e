"""A graph ready to be measured: a function from a batch to its vectors, in each runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino

from models.precision import Precision
from training.errors import TrainingError
from training.inference import open_session

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Feed = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]

# As the service computes them: what an int8 graph does not quantise is float32.
_HINTS = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16", Precision.INT8: "f32"}


@dataclass(frozen=True, slots=True)
class Runner:
    """What gives the unit vectors of a batch, (rows, dim), and what it calls itself."""

    run: Callable[[Feed], Vectors]
    runtime: str


def on_openvino(graph: Path, precision: Precision, threads: int | None) -> Runner:
    """`graph` in OpenVINO on the CPU; TrainingError where the processor cannot do `precision`."""
    core = openvino.Core()
    if precision is Precision.BFLOAT16 and not has_bfloat16():
        raise TrainingError(
            "this processor has no instructions for bfloat16, so it cannot be measured here; "
            "leave it out of --precisions"
        )
    config = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = str(threads)
    request = core.compile_model(graph, "CPU", config).create_infer_request()

    def run(feed: Feed) -> Vectors:
        return np.array(request.infer(dict(feed), share_inputs=True)["embedding"])

    return Runner(run, f"openvino {openvino.__version__.split('-')[0]}")


def on_onnxruntime(graph: Path, threads: int | None) -> Runner:
    """`graph` in ONNX Runtime on the CPU."""
    session = open_session(str(graph), threads)

    def run(feed: Feed) -> Vectors:
        vectors: Vectors = session.run(["embedding"], dict(feed))[0]
        return vectors

    return Runner(run, f"onnxruntime {onnxruntime.__version__} on the CPU")


def has_bfloat16() -> bool:
    """Whether OpenVINO computes bfloat16 here with the processor's own instructions."""
    flags = _flags()
    native = not flags or flags & {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
    return bool(
        native and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    )


def _flags() -> set[str]:
    """What instructions the processor says it has; empty where it does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    told = (line.partition(":") for line in lines)
    return next((set(what.split()) for name, _, what in told if name.strip() == "flags"), set())
