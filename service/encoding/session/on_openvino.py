"""The graph in OpenVINO, on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.precision import Precision
from service.encoding.session.ports import Port, Vectors, feed_of
from service.encoding.session.signal_stack import kept_signal_stack
from service.encoding.tokenizer import Batch

if TYPE_CHECKING:
    import openvino

# int8 graphs compute what is not quantised in float32: in bfloat16 it would move the numbers that
# are rounded to int8, and with them a vector from batch to batch.
_HINTS = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16", Precision.INT8: "f32"}

# OpenVINO compiles kernels for each shape that it meets, which costs as much as a hundred tokens,
# and keeps them, up to 5,000 of each kind, and oneDNN inside it another 1,024: half a gigabyte
# before it ends. A shape has some four of each kind; this many hold the shapes of ordinary traffic,
# and memory is level after the first minutes.
_KEPT_KERNELS = 256
# Small batches have few shapes.
_KEPT_BESIDE = 64

# Rows and tokens are padded to one of so many sizes between one power of two and the next, and
# tokens to an even number: few enough shapes to be met again soon.
_SIZES_PER_OCTAVE = 4
_TOKEN_MULTIPLE = 2


def _library() -> Any:  # noqa: ANN401  (a module)
    # Read by oneDNN once, when it is loaded; OpenVINO's own cache above it is the one that is used.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1")
    # On import it would write an identity into the home folder and report to Google Analytics. It
    # goes without where this package cannot be imported, and knows no other switch.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    import openvino.passes

    return openvino


def cpu_capabilities() -> set[str]:
    """What OpenVINO says the processor can compute in, such as FP32, BF16 and INT8."""
    return set(_library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class OpenVinoGraph:
    """A graph that OpenVINO has compiled for any shape; safe to run from several threads."""

    def __init__(
        self, model: openvino.Model, precision: Precision, threads: int, kernels: int
    ) -> None:
        self._source, self._precision = model, precision
        self._model = _compiled(model, precision, threads, kernels)
        self.inputs = [_port(port) for port in self._model.inputs]
        self.outputs = [_port(port) for port in self._model.outputs]
        # A request runs one batch at a time; as many are made as threads run at once.
        self._idle: list[Any] = []

    @classmethod
    def open(
        cls,
        graph: Path,
        precision: Precision,
        threads: int,
        limits: Mapping[str, int],
        longest: int,
    ) -> OpenVinoGraph:
        """Compile `graph` for `threads` cores.

        `limits` holds, by the name of an input, how many different values it may take, and
        `longest` how many tokens. Raises ValueError where the graph gathers by them from a table
        that is too short: OpenVINO would read zeros there and say nothing. Raises whatever
        OpenVINO raises where it cannot load the graph.
        """
        ov = _library()
        model = ov.Core().read_model(graph)
        _check_gathers(ov, model, limits, longest)
        _widen(model)
        return cls(model, precision, threads, _KEPT_KERNELS)

    def beside(self) -> OpenVinoGraph:
        """The graph compiled once more, for one core: batches of one compilation wait for each
        other, and streams of one would share its cores out once and for all."""
        return OpenVinoGraph(self._source, self._precision, 1, _KEPT_BESIDE)

    def roomy(self, rows: int, tokens: int) -> tuple[int, int]:
        """Both up to the next of the sizes that kernels are made for."""
        return _rounded_up(rows, 1), _rounded_up(tokens, _TOKEN_MULTIPLE)

    def run(self, batch: Batch, outputs: Sequence[str]) -> list[Vectors]:
        """The named outputs for a batch; raises whatever OpenVINO raises."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            results = request.infer(feed_of(batch), share_inputs=True, share_outputs=True)
            # The request's own memory is overwritten by its next batch.
            return [np.array(results[name]) for name in outputs]
        finally:
            self._idle.append(request)


def _widen(model: Any) -> None:  # noqa: ANN401
    """Make constants of float16 float32, in place.

    OpenVINO would do the same for each compilation, and each would hold a copy of its own.
    """
    from openvino import Type, opset13

    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == Type.f16:
            values = node.get_data().astype(np.float32)
            wide = opset13.constant(values, shared_memory=True)
            wide.set_friendly_name(node.get_friendly_name())
            node.output(0).replace(wide.output(0))
    model.validate_nodes_and_infer_types()


def _compiled(model: Any, precision: Precision, threads: int, kernels: int) -> Any:  # noqa: ANN401
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads of two workers would share the same cores and leave others idle.
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": str(kernels),
    }
    with kept_signal_stack():
        return _library().Core().compile_model(model, "CPU", settings)


def _rounded_up(size: int, least: int) -> int:
    octave = 1 << (size - 1).bit_length() >> 1  # the power of two below
    step = max(octave // _SIZES_PER_OCTAVE, least)
    return -(-size // step) * step


def _port(port: Any) -> Port:  # noqa: ANN401
    sizes = (None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    kind = port.get_element_type().to_dtype().name
    return Port(port.get_any_name(), kind, tuple(sizes))


def _check_gathers(ov: Any, model: Any, limits: Mapping[str, int], longest: int) -> None:  # noqa: ANN401
    """Raise ValueError where a Gather from a weight may be asked for what the weight lacks."""
    known = {port.get_any_name() for port in model.inputs}
    if known != {"input_ids", "attention_mask", "adapter_ids"}:
        return  # the ports are refused next, in better words
    # With sizes instead of variables, what an index is computed from can be folded to a constant.
    fixed = model.clone()
    fixed.reshape({"input_ids": [1, longest], "attention_mask": [1, longest], "adapter_ids": [1]})
    for node in fixed.get_ordered_ops():
        if node.get_type_name() != "Gather" or not _is_weight(node.input_value(0).get_node()):
            continue
        needed = _highest_index(ov, fixed, node.input_value(1), limits)
        axis = int(node.input_value(2).get_node().get_data())
        size = node.get_input_partial_shape(0)[axis].get_length()
        if needed is not None and needed >= size:
            raise ValueError(
                f"{node.get_friendly_name()} holds {size} rows, and up to {needed + 1} are "
                "asked for"
            )


def _is_weight(node: Any) -> bool:  # noqa: ANN401
    while node.get_type_name() in ("Convert", "FakeQuantize", "Multiply", "Subtract", "Reshape"):
        node = node.input_value(0).get_node()  # a weight stored in fewer bits
    return bool(node.get_type_name() == "Constant")


def _highest_index(ov: Any, model: Any, index: Any, limits: Mapping[str, int]) -> int | None:  # noqa: ANN401
    """The highest value that `index` may take; None where only the texts can tell."""
    node = index.get_node()
    while node.get_type_name() in ("Convert", "Unsqueeze", "Squeeze", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() == "Parameter":
        limit = limits.get(node.get_friendly_name())
        return None if limit is None else limit - 1
    part = ov.Model([index], model.get_parameters(), "index")
    manager = ov.passes.Manager()
    manager.register_pass(ov.passes.ConstantFolding())
    manager.run_passes(part)
    folded = part.get_results()[0].input_value(0).get_node()
    return int(folded.get_data().max()) if folded.get_type_name() == "Constant" else None
