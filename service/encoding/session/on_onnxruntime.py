"""The graph in ONNX Runtime: on the CPU, on CUDA, or on CUDA with TensorRT's kernels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike

from service.encoding.session.choice import Runtime
from service.encoding.session.ports import EMBEDDING, Port, Vectors, feed_of
from service.encoding.tokenizer import Batch

_TYPES = {"tensor(int64)": "int64", "tensor(float)": "float32", "tensor(double)": "float64"}

_TOKEN_MULTIPLE = 8

# Shapes whose buffers are kept on the device.
_KEPT_SHAPES = 64

# Not float32's own arithmetic, and so nothing that was measured as float32.
_CUDA_OPTIONS = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}


class OnnxCpuGraph:
    """A graph in ONNX Runtime on the CPU; safe to run from several threads."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.inputs, self.outputs = _ports(session)

    def roomy(self, rows: int, tokens: int) -> tuple[int, int]:
        """The shape as it is: nothing is kept for it."""
        return rows, tokens

    def beside(self) -> OnnxCpuGraph:
        """Itself: the threads of a session take turns with the operations of all its batches."""
        return self

    @classmethod
    def open(cls, graph: Path, threads: int) -> OnnxCpuGraph:
        """Load `graph` for `threads` cores; raises whatever the runtime raises."""
        options = _options()
        options.intra_op_num_threads = threads
        # Spinning threads would take the cores from tokenising and HTTP between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A pattern is kept for every shape, and there are thousands.
        options.enable_mem_pattern = False
        providers = ["CPUExecutionProvider"]
        return cls(onnxruntime.InferenceSession(str(graph), options, providers=providers))

    def run(self, batch: Batch, outputs: Sequence[str]) -> list[Vectors]:
        """The named outputs for a batch; raises whatever the runtime raises."""
        results: list[Vectors] = self._session.run(list(outputs), feed_of(batch))
        return results


class OnnxDeviceGraph:
    """A graph in ONNX Runtime on a device, with buffers there that are kept between batches.

    Threads wait for each other: a device runs one batch at a time.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: str) -> None:
        self._session = session
        self._device = device
        self.inputs, self.outputs = _ports(session)
        self._buffers: OrderedDict[tuple[str, tuple[int, ...]], Any] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, graph: Path, runtime: Runtime, rows: int, longest: int) -> OnnxDeviceGraph:
        """Load `graph` on the first GPU, TensorRT's engine for batches up to `rows` x `longest`.

        Raises RuntimeError where the runtime would compute on the CPU instead, which by itself it
        does with no more than a warning, and whatever else the runtime raises.
        """
        # CUDA's libraries from the packages that the extra `gpu` installs, not from the system.
        onnxruntime.preload_dlls()
        providers: list[Any] = [("CUDAExecutionProvider", _CUDA_OPTIONS)]
        if runtime is Runtime.TENSORRT:
            providers.insert(0, ("TensorrtExecutionProvider", _tensorrt_options(rows, longest)))
        session = onnxruntime.InferenceSession(str(graph), _options(), providers=providers)
        session.disable_fallback()
        started = session.get_providers()
        if missing := [name for name, _ in providers if name not in started]:
            raise RuntimeError(
                f"{', '.join(missing)} did not start, only {', '.join(started)}: are the driver "
                "and the extra gpu of one CUDA version? --device cpu does without"
            )
        return cls(session, "cuda")

    def roomy(self, rows: int, tokens: int) -> tuple[int, int]:
        """Tokens up to a multiple of eight."""
        return rows, -(-tokens // _TOKEN_MULTIPLE) * _TOKEN_MULTIPLE

    def beside(self) -> None:
        """None: a device runs one batch at a time."""

    def run(self, batch: Batch, outputs: Sequence[str]) -> list[Vectors]:
        """The named outputs for a batch; raises whatever the runtime raises."""
        with self._lock:
            binding = self._session.io_binding()
            for name, values in feed_of(batch).items():
                buffer = self._buffer(name, values.shape, values.dtype)
                buffer.update_inplace(np.ascontiguousarray(values))
                binding.bind_ortvalue_input(name, buffer)
            rows = len(batch.input_ids)
            for name in outputs:
                if name == EMBEDDING:
                    shape = (rows, self._dimension)
                    binding.bind_ortvalue_output(name, self._buffer(name, shape, np.float32))
                else:  # token states are large and rarely asked for: not kept
                    binding.bind_output(name, self._device)
            self._session.run_with_iobinding(binding)
            # On the CPU `numpy` shows the buffer itself, which the next batch overwrites.
            return [np.array(value.numpy()) for value in binding.get_outputs()]

    @property
    def _dimension(self) -> int:
        (port,) = (port for port in self.outputs if port.name == EMBEDDING)
        return port.shape[1] or 0

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Any:  # noqa: ANN401
        """The kept buffer of this shape, the one longest unused given up for a new one."""
        key = (name, shape)
        if key not in self._buffers:
            make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
            self._buffers[key] = make(shape, dtype, self._device, 0)
            if len(self._buffers) > _KEPT_SHAPES * 4:  # three inputs and one output
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(key)
        return self._buffers[key]


def _options() -> Any:  # noqa: ANN401  (the runtime has no types)
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _tensorrt_options(rows: int, longest: int) -> dict[str, str]:
    """One engine for all shapes; without these it would build another for each larger batch."""

    def shapes(rows: int, tokens: int) -> str:
        both = f"{rows}x{tokens}"
        return f"input_ids:{both},attention_mask:{both},adapter_ids:{rows}"

    return {
        "trt_profile_min_shapes": shapes(1, 1),
        "trt_profile_opt_shapes": shapes(max(1, rows // 4), max(1, longest // 4)),
        "trt_profile_max_shapes": shapes(rows, longest),
    }


def _ports(session: Any) -> tuple[list[Port], list[Port]]:  # noqa: ANN401
    def port(found: Any) -> Port:  # noqa: ANN401
        # A size is a number where the graph fixes it and a name (or None) where it does not.
        shape = tuple(size if isinstance(size, int) else None for size in found.shape)
        return Port(found.name, _TYPES.get(found.type, found.type), shape)

    return [port(one) for one in session.get_inputs()], [port(one) for one in session.get_outputs()]
